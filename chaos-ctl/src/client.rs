//! The daemon, at the other end of a Unix socket.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use chaos_common::{
    injection::Injection,
    proto::v1::{self, chaos_daemon_client::ChaosDaemonClient},
    spec::{InjectionId, Spec},
    value::Lifetime,
    wire::to_duration,
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Response, Status, Streaming,
    transport::{Channel, Endpoint, Uri},
};

use crate::{call::CallError, output::path};

/// How long the daemon may take for an answer. On a node that is well it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same for a fault that is started: hooks are attached to every interface of its target.
const PATIENCE_TO_INJECT: Duration = Duration::from_secs(30);

/// No connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// There is no socket, or nobody listens on it.
    #[error(
        "no daemon at {}; start it with `sudo chaos-daemon` or name its socket with --socket",
        path(.0)
    )]
    NoDaemon(PathBuf),
    /// The socket belongs to others.
    #[error(
        "not allowed to use {}; ask as root, or as a member of the group that the daemon's socket belongs to",
        path(.0)
    )]
    NotAllowed(PathBuf),
    /// Somebody listens and takes no connection.
    #[error(
        "the daemon at {} takes no connections; see its log, and `recover --all` works without it",
        path(.0)
    )]
    Silent(PathBuf),
    /// Anything else.
    #[error("cannot connect to the daemon at {}", path(.0))]
    Other(PathBuf, #[source] Box<dyn Error + Send + Sync>),
}

impl ConnectError {
    fn new(socket: &Path, error: tonic::transport::Error) -> Self {
        let socket = socket.to_owned();
        match io_cause(&error).map(io::Error::kind) {
            Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Self::NoDaemon(socket)
            }
            Some(io::ErrorKind::PermissionDenied) => Self::NotAllowed(socket),
            // Too many others wait already.
            Some(io::ErrorKind::WouldBlock) => Self::Silent(socket),
            Some(_) | None => Self::Other(socket, error.into()),
        }
    }
}

fn io_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    match error.downcast_ref() {
        Some(io) => Some(io),
        None => io_cause(error.source()?),
    }
}

/// A connection. Each call names itself in its errors, and has a time limit.
pub(crate) struct Client {
    daemon: ChaosDaemonClient<Channel>,
    socket: PathBuf,
}

/// Answers that come one by one.
pub(crate) struct Answers<T> {
    stream: Streaming<T>,
    call: Call,
    /// How long each may take; a watch has no limit.
    patience: Option<Duration>,
}

/// What is asked, and whom.
struct Call {
    doing: String,
    socket: PathBuf,
}

impl Call {
    /// A status with a cause was made on this side of a connection that broke.
    fn failed(&self, status: &Status) -> CallError {
        let doing = self.doing.clone();
        match status.source() {
            Some(_) => CallError::gone(doing, &self.socket),
            None => CallError::new(doing, status),
        }
    }

    /// Waits for an answer, but not for ever.
    async fn within<T>(
        &self,
        patience: Duration,
        answer: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, CallError> {
        match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer.map_err(|status| self.failed(&status)),
            Err(_) => Err(CallError::silent(self.doing.clone(), &self.socket, patience)),
        }
    }
}

impl<T> Answers<T> {
    /// The next one; none is the end.
    ///
    /// # Errors
    /// When the daemon ends the call with an error, or does not go on.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, CallError> {
        let next = self.stream.message();
        match self.patience {
            Some(patience) => self.call.within(patience, next).await,
            None => next.await.map_err(|status| self.call.failed(&status)),
        }
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody answers there.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, ConnectError> {
        let there = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let there = there.clone();
            async move { UnixStream::connect(there).await.map(TokioIo::new) }
        });
        // The address only fills the :authority of requests; the connector does not look at it.
        let endpoint = Endpoint::from_static("http://localhost")
            .user_agent(concat!("chaos/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| ConnectError::new(socket, error))?
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(1 << 21);
        let connecting = endpoint.connect_with_connector(connector);
        let channel = match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(connected) => connected.map_err(|error| ConnectError::new(socket, error))?,
            Err(_) => return Err(ConnectError::Silent(socket.to_owned())),
        };
        Ok(Self { daemon: ChaosDaemonClient::new(channel), socket: socket.to_owned() })
    }

    /// What the node can do.
    pub(crate) async fn capabilities(&mut self) -> Result<v1::CapabilitiesResponse, CallError> {
        let call = self.call("ask what the daemon can do");
        one(&call, self.daemon.capabilities(v1::CapabilitiesRequest {})).await
    }

    /// What can be aimed at.
    pub(crate) async fn targets(
        &mut self,
        request: v1::ListTargetsRequest,
    ) -> Result<Answers<v1::TargetInfo>, CallError> {
        let call = self.call("list targets");
        many(call, Some(PATIENCE), self.daemon.list_targets(request)).await
    }

    /// What [`Client::inject`] would do.
    pub(crate) async fn plan(&mut self, spec: &Spec) -> Result<v1::PlanResponse, CallError> {
        let call = self.call(format_args!("plan {} on {}", spec.fault.kind(), spec.target));
        one(&call, self.daemon.plan(v1::PlanRequest { spec: Some(spec.into()) })).await
    }

    /// Starts a fault. `doing` names it in errors: its id need not be known to anybody.
    pub(crate) async fn inject(
        &mut self,
        id: &InjectionId,
        spec: &Spec,
        doing: String,
    ) -> anyhow::Result<Injection> {
        let call = self.call(doing);
        let request = v1::InjectRequest { id: id.to_string(), spec: Some(spec.into()) };
        let answer = call.within(PATIENCE_TO_INJECT, self.daemon.inject(request)).await?;
        read(answer.into_inner())
    }

    /// Moves the deadline.
    pub(crate) async fn renew(
        &mut self,
        id: &InjectionId,
        duration: Option<Lifetime>,
    ) -> anyhow::Result<Injection> {
        let call = self.call(format_args!("renew {id}"));
        let request = v1::RenewRequest { id: id.to_string(), duration: duration.map(to_duration) };
        read(one(&call, self.daemon.renew(request)).await?)
    }

    /// Ends one injection, also one of a kind that this client does not know.
    pub(crate) async fn recover(&mut self, id: &InjectionId) -> Result<v1::Injection, CallError> {
        let call = self.call(format_args!("recover {id}"));
        one(&call, self.daemon.recover(v1::RecoverRequest { id: id.to_string() })).await
    }

    /// Ends all injections. How long that may take is for the caller to say.
    pub(crate) async fn recover_all(&mut self) -> Result<v1::RecoverAllResponse, CallError> {
        let call = self.call("recover all injections");
        let answer = self.daemon.recover_all(v1::RecoverAllRequest {}).await;
        answer.map(Response::into_inner).map_err(|status| call.failed(&status))
    }

    /// One injection.
    pub(crate) async fn get(&mut self, id: &InjectionId) -> anyhow::Result<Injection> {
        let call = self.call(format_args!("get {id}"));
        read(one(&call, self.daemon.get(v1::GetRequest { id: id.to_string() })).await?)
    }

    /// Injections, oldest first.
    pub(crate) async fn list(
        &mut self,
        request: v1::ListRequest,
    ) -> Result<Answers<v1::Injection>, CallError> {
        let call = self.call("list injections");
        many(call, Some(PATIENCE), self.daemon.list(request)).await
    }

    /// What happens from now on, to one injection or to all.
    pub(crate) async fn watch(
        &mut self,
        id: Option<&InjectionId>,
    ) -> Result<Answers<v1::WatchEvent>, CallError> {
        let call = match id {
            Some(id) => self.call(format_args!("watch {id}")),
            None => self.call("watch injections"),
        };
        let request = v1::WatchRequest { id: id.map(ToString::to_string).unwrap_or_default() };
        many(call, None, self.daemon.watch(request)).await
    }

    fn call(&self, doing: impl fmt::Display) -> Call {
        Call { doing: doing.to_string(), socket: self.socket.clone() }
    }
}

async fn one<T>(
    call: &Call,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, CallError> {
    call.within(PATIENCE, answer).await.map(Response::into_inner)
}

async fn many<T>(
    call: Call,
    patience: Option<Duration>,
    answer: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
) -> Result<Answers<T>, CallError> {
    let stream = one(&call, answer).await?;
    Ok(Answers { stream, call, patience })
}

fn read(wire: v1::Injection) -> anyhow::Result<Injection> {
    let id = wire.id.clone();
    wire.try_into().with_context(|| {
        format!("cannot read what the daemon says of {id}; it may be newer than this client")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limits themselves are the same code; only their length is short here.
    #[tokio::test]
    async fn no_answer_is_an_error_that_names_the_socket() {
        let call = Call { doing: "inject a".into(), socket: "/run/a.sock".into() };
        let never = std::future::pending::<Result<(), Status>>();
        let error = call.within(Duration::ZERO, never).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot inject a: the daemon at /run/a.sock does not answer for 0 s; \
             see its log, and `recover --all` works without it"
        );
        assert!(error.is_open());
        let answer = call.within(Duration::from_secs(60), std::future::ready(Ok(7))).await;
        assert_eq!(answer.unwrap(), 7);
    }
}
