//! The Unix socket: who may connect, and one daemon at a time.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Group, Uid, chown};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

/// Who may use the socket besides root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Members of this group.
    pub group: Option<Gid>,
}

/// The socket was not opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// There is no such group.
    #[error("there is no group {0}; make it with `groupadd {0}`, or name another with --group")]
    NoGroup(String),
    /// Another daemon answers there.
    #[error("another daemon listens on {path}; stop it, or name another path with --socket", path = .0.display())]
    InUse(PathBuf),
    /// What is there is no socket.
    #[error("{path} is there and is no socket; remove it, or name another path with --socket", path = .0.display())]
    NoSocket(PathBuf),
    /// One operation on one path.
    #[error("{what} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Access {
    /// Root, and the members of a group if one is named.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn group(name: Option<&str>) -> Result<Self, SocketError> {
        let Some(name) = name else { return Ok(Self::default()) };
        match Group::from_name(name) {
            Ok(Some(group)) => Ok(Self { group: Some(group.gid) }),
            Ok(None) | Err(_) => Err(SocketError::NoGroup(name.to_owned())),
        }
    }
}

/// A listening socket. Its path is removed when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    access: Access,
    _path: RemoveOnDrop,
}

#[derive(Debug)]
struct RemoveOnDrop {
    path: PathBuf,
    inode: u64,
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        // Another daemon may have taken our name meanwhile.
        if fs::symlink_metadata(&self.path).is_ok_and(|there| there.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Socket {
    /// Listens at a path, in place of a socket on which nobody listens any more.
    ///
    /// # Errors
    /// When another daemon listens there, or the path cannot be used.
    pub fn bind(path: &Path, access: Access) -> Result<Self, SocketError> {
        let at = |what| {
            let path = path.to_owned();
            move |source| SocketError::Io { what, path, source }
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(at("make the directory of"))?;
        }
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at("look at")(error)),
            Ok(stat) => {
                if !stat.file_type().is_socket() {
                    return Err(SocketError::NoSocket(path.to_owned()));
                }
                if UnixStream::connect(path).is_ok() {
                    return Err(SocketError::InUse(path.to_owned()));
                }
                fs::remove_file(path).map_err(at("remove the stale socket"))?;
            }
        }
        let listener = UnixListener::bind(path).map_err(at("listen on"))?;
        let inode = fs::symlink_metadata(path).map_err(at("look at"))?.ino();
        let bound = RemoveOnDrop { path: path.to_owned(), inode };
        let mode = if access.group.is_some() { 0o660 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at("protect"))?;
        if access.group.is_some() {
            chown(path, Some(Uid::from_raw(0)), access.group)
                .map_err(|errno| at("give to the group")(errno.into()))?;
        }
        Ok(Self { listener, access, _path: bound })
    }

    pub(super) fn access(&self) -> Access {
        self.access
    }

    pub(super) fn incoming(
        self,
    ) -> impl tokio_stream::Stream<Item = io::Result<tokio::net::UnixStream>> {
        Incoming { stream: UnixListenerStream::new(self.listener), _path: self._path }
    }
}

/// The connections, as long as the path is there.
struct Incoming {
    stream: UnixListenerStream,
    _path: RemoveOnDrop,
}

impl tokio_stream::Stream for Incoming {
    type Item = io::Result<tokio::net::UnixStream>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::pin::Pin::new(&mut self.stream).poll_next(context)
    }
}
