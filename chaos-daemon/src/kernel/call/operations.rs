//! Where the kernel asks its security modules, and what it asks there.

use chaos_common::abi::Operation;

/// A function of the kernel that asks its security modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hook {
    FileOpen,
    PathMknod,
    FilePermission,
    PathTruncate,
    FileTruncate,
    PathRename,
    PathUnlink,
    PathMkdir,
    PathRmdir,
    PathLink,
    PathSymlink,
    InodeGetattr,
    PathChmod,
    PathChown,
    MmapFile,
    BprmCheck,
    FileLock,
    FileIoctl,
    SocketCreate,
    SocketBind,
    SocketConnect,
    SocketListen,
    SocketAccept,
    SocketSendmsg,
    SocketRecvmsg,
    VmEnoughMemory,
    TaskAlloc,
    FileAlloc,
}

impl Hook {
    /// All of them.
    pub(crate) const ALL: [Self; 28] = [
        Self::FileOpen,
        Self::PathMknod,
        Self::FilePermission,
        Self::PathTruncate,
        Self::FileTruncate,
        Self::PathRename,
        Self::PathUnlink,
        Self::PathMkdir,
        Self::PathRmdir,
        Self::PathLink,
        Self::PathSymlink,
        Self::InodeGetattr,
        Self::PathChmod,
        Self::PathChown,
        Self::MmapFile,
        Self::BprmCheck,
        Self::FileLock,
        Self::FileIoctl,
        Self::SocketCreate,
        Self::SocketBind,
        Self::SocketConnect,
        Self::SocketListen,
        Self::SocketAccept,
        Self::SocketSendmsg,
        Self::SocketRecvmsg,
        Self::VmEnoughMemory,
        Self::TaskAlloc,
        Self::FileAlloc,
    ];

    /// Its name in the kernel.
    pub(crate) const fn function(self) -> &'static str {
        match self {
            Self::FileOpen => "security_file_open",
            Self::PathMknod => "security_path_mknod",
            Self::FilePermission => "security_file_permission",
            Self::PathTruncate => "security_path_truncate",
            Self::FileTruncate => "security_file_truncate",
            Self::PathRename => "security_path_rename",
            Self::PathUnlink => "security_path_unlink",
            Self::PathMkdir => "security_path_mkdir",
            Self::PathRmdir => "security_path_rmdir",
            Self::PathLink => "security_path_link",
            Self::PathSymlink => "security_path_symlink",
            Self::InodeGetattr => "security_inode_getattr",
            Self::PathChmod => "security_path_chmod",
            Self::PathChown => "security_path_chown",
            Self::MmapFile => "security_mmap_file",
            Self::BprmCheck => "security_bprm_check",
            Self::FileLock => "security_file_lock",
            Self::FileIoctl => "security_file_ioctl",
            Self::SocketCreate => "security_socket_create",
            Self::SocketBind => "security_socket_bind",
            Self::SocketConnect => "security_socket_connect",
            Self::SocketListen => "security_socket_listen",
            Self::SocketAccept => "security_socket_accept",
            Self::SocketSendmsg => "security_socket_sendmsg",
            Self::SocketRecvmsg => "security_socket_recvmsg",
            Self::VmEnoughMemory => "security_vm_enough_memory_mm",
            Self::TaskAlloc => "security_task_alloc",
            Self::FileAlloc => "security_file_alloc",
        }
    }

    /// The program for it.
    pub(in crate::kernel) fn program(self) -> &'static str {
        self.function().trim_start_matches("security_")
    }

    /// That at which an operation is asked about, if one is, and others at which newer kernels ask about some of it.
    pub(crate) const fn of(operation: Operation) -> Option<(Self, &'static [Self])> {
        Some(match operation {
            Operation::Open | Operation::Made => (Self::FileOpen, &[]),
            Operation::Create => (Self::PathMknod, &[]),
            Operation::Read | Operation::Write | Operation::List => (Self::FilePermission, &[]),
            Operation::Truncate => (Self::PathTruncate, &[Self::FileTruncate]),
            Operation::Rename => (Self::PathRename, &[]),
            Operation::Unlink => (Self::PathUnlink, &[]),
            Operation::Mkdir => (Self::PathMkdir, &[]),
            Operation::Rmdir => (Self::PathRmdir, &[]),
            Operation::Link => (Self::PathLink, &[]),
            Operation::Symlink => (Self::PathSymlink, &[]),
            Operation::Stat => (Self::InodeGetattr, &[]),
            Operation::Chmod => (Self::PathChmod, &[]),
            Operation::Chown => (Self::PathChown, &[]),
            Operation::Map => (Self::MmapFile, &[]),
            Operation::Exec => (Self::BprmCheck, &[]),
            Operation::Lock => (Self::FileLock, &[]),
            Operation::Ioctl => (Self::FileIoctl, &[]),
            Operation::Socket => (Self::SocketCreate, &[]),
            Operation::Bind => (Self::SocketBind, &[]),
            Operation::Connect => (Self::SocketConnect, &[]),
            Operation::Listen => (Self::SocketListen, &[]),
            Operation::Accept => (Self::SocketAccept, &[]),
            Operation::Send => (Self::SocketSendmsg, &[]),
            Operation::Receive => (Self::SocketRecvmsg, &[]),
            Operation::Allocate => (Self::VmEnoughMemory, &[]),
            Operation::Fork => (Self::TaskAlloc, &[]),
            Operation::Descriptor => (Self::FileAlloc, &[]),
            Operation::Sync => return None,
        })
    }
}
