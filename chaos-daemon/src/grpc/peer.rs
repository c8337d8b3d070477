//! Who calls, by what the kernel says of the other end of the socket.

use nix::unistd::{Gid, Uid, User, getgrouplist};
use procfs::process::Process;
use tonic::{Request, Status, transport::server::UdsConnectInfo};

use super::{Access, status};

/// Lets root and the members of one group in.
#[derive(Clone)]
pub(super) struct Check {
    access: Access,
}

impl Check {
    pub(super) fn new(access: Access) -> Self {
        Self { access }
    }

    pub(super) fn check(&self, request: Request<()>) -> Result<Request<()>, Status> {
        let credentials =
            request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
        let Some(credentials) = credentials else {
            return Err(status::not_allowed("the kernel does not say who you are"));
        };
        let (uid, gid) = (credentials.uid(), credentials.gid());
        let is_member = |group| is_member(uid, gid, group) || has_group(credentials.pid(), group);
        if uid == 0 || self.access.group.is_some_and(is_member) {
            Ok(request)
        } else {
            Err(status::not_allowed(&format!(
                "uid {uid} may not use this daemon; root may, and members of the group given with --group"
            )))
        }
    }
}

fn is_member(uid: u32, gid: u32, group: Gid) -> bool {
    if Gid::from_raw(gid) == group {
        return true;
    }
    // The socket tells the primary group only.
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else { return false };
    let Ok(name) = std::ffi::CString::new(user.name) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group))
}

/// Whether a process has a group beside its first, as from `SupplementaryGroups=` of its unit. The socket's
/// mode has let nobody in but members, so that an id that was given to another process opens no door.
fn has_group(pid: Option<i32>, group: Gid) -> bool {
    let status = pid.and_then(|pid| Process::new(pid).ok()?.status().ok());
    status.is_some_and(|status| status.groups.contains(&group.as_raw()))
}

/// The caller, for the audit log.
pub(super) fn name<T>(request: &Request<T>) -> String {
    let credentials = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
    match credentials {
        Some(credentials) => {
            let pid = credentials.pid().map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
            format!("uid {} (pid {pid})", credentials.uid())
        }
        None => "unknown".to_owned(),
    }
}
