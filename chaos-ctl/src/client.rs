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
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Uri},
};

use crate::call::CallError;

/// How long a call may take that is not a watch: longer than any effect is in being applied.
const PATIENCE: Duration = Duration::from_secs(60);

/// No connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// There is no socket, or nobody listens on it.
    #[error(
        "no daemon at {}; start it with `sudo chaos-daemon` or name its socket with --socket",
        .0.display()
    )]
    NoDaemon(PathBuf),
    /// The socket belongs to others.
    #[error(
        "not allowed to use {}; ask as root, or as a member of the group that the daemon's socket belongs to",
        .0.display()
    )]
    NotAllowed(PathBuf),
    /// Anything else.
    #[error("cannot connect to the daemon at {}", .0.display())]
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

/// A connection. Each call names itself in its errors.
pub(crate) struct Client(ChaosDaemonClient<Channel>);

/// Answers that come one by one.
pub(crate) struct Answers<T> {
    stream: Streaming<T>,
    doing: String,
}

impl<T> Answers<T> {
    /// The next one; none is the end.
    ///
    /// # Errors
    /// When the daemon ends the call with an error.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, CallError> {
        let next = self.stream.message().await;
        next.map_err(|status| CallError::new(self.doing.clone(), &status))
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody answers there.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, ConnectError> {
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The address only fills the :authority of requests; the connector does not look at it.
        let channel = Endpoint::from_static("http://localhost")
            .user_agent(concat!("chaos/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| ConnectError::new(socket, error))?
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(1 << 21)
            .connect_with_connector(connector)
            .await
            .map_err(|error| ConnectError::new(socket, error))?;
        Ok(Self(ChaosDaemonClient::new(channel)))
    }

    /// What the node can do.
    pub(crate) async fn capabilities(&mut self) -> Result<v1::CapabilitiesResponse, CallError> {
        let answer = self.0.capabilities(patient(v1::CapabilitiesRequest {})).await;
        one(answer, "ask what the daemon can do")
    }

    /// What can be aimed at.
    pub(crate) async fn targets(
        &mut self,
        request: v1::ListTargetsRequest,
    ) -> Result<Answers<v1::TargetInfo>, CallError> {
        let answer = self.0.list_targets(patient(request)).await;
        many(answer, "list targets")
    }

    /// What [`Client::inject`] would do.
    pub(crate) async fn plan(&mut self, spec: &Spec) -> Result<v1::PlanResponse, CallError> {
        let answer = self.0.plan(patient(v1::PlanRequest { spec: Some(spec.into()) })).await;
        one(answer, format_args!("plan {} on {}", spec.fault.kind(), spec.target))
    }

    /// Starts a fault.
    pub(crate) async fn inject(
        &mut self,
        id: &InjectionId,
        spec: &Spec,
    ) -> anyhow::Result<Injection> {
        let request = v1::InjectRequest { id: id.to_string(), spec: Some(spec.into()) };
        let answer = self.0.inject(patient(request)).await;
        read(one(answer, format_args!("inject {id}"))?)
    }

    /// Moves the deadline.
    pub(crate) async fn renew(
        &mut self,
        id: &InjectionId,
        duration: Option<Lifetime>,
    ) -> anyhow::Result<Injection> {
        let request = v1::RenewRequest { id: id.to_string(), duration: duration.map(to_duration) };
        let answer = self.0.renew(patient(request)).await;
        read(one(answer, format_args!("renew {id}"))?)
    }

    /// Ends one injection, also one of a kind that this client does not know.
    pub(crate) async fn recover(&mut self, id: &InjectionId) -> Result<v1::Injection, CallError> {
        let answer = self.0.recover(patient(v1::RecoverRequest { id: id.to_string() })).await;
        one(answer, format_args!("recover {id}"))
    }

    /// Ends all injections.
    pub(crate) async fn recover_all(&mut self) -> Result<v1::RecoverAllResponse, CallError> {
        let answer = self.0.recover_all(patient(v1::RecoverAllRequest {})).await;
        one(answer, "recover all injections")
    }

    /// One injection.
    pub(crate) async fn get(&mut self, id: &InjectionId) -> anyhow::Result<Injection> {
        let answer = self.0.get(patient(v1::GetRequest { id: id.to_string() })).await;
        read(one(answer, format_args!("get {id}"))?)
    }

    /// Injections, oldest first.
    pub(crate) async fn list(
        &mut self,
        request: v1::ListRequest,
    ) -> Result<Answers<v1::Injection>, CallError> {
        let answer = self.0.list(patient(request)).await;
        many(answer, "list injections")
    }

    /// What happens from now on, to one injection or to all.
    pub(crate) async fn watch(
        &mut self,
        id: Option<&InjectionId>,
    ) -> Result<Answers<v1::WatchEvent>, CallError> {
        let request = v1::WatchRequest { id: id.map(ToString::to_string).unwrap_or_default() };
        let answer = self.0.watch(request).await;
        match id {
            Some(id) => many(answer, format_args!("watch {id}")),
            None => many(answer, "watch injections"),
        }
    }
}

fn patient<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

fn one<T>(answer: Result<Response<T>, Status>, doing: impl fmt::Display) -> Result<T, CallError> {
    answer.map(Response::into_inner).map_err(|status| CallError::new(doing.to_string(), &status))
}

fn many<T>(
    answer: Result<Response<Streaming<T>>, Status>,
    doing: impl fmt::Display,
) -> Result<Answers<T>, CallError> {
    let doing = doing.to_string();
    let stream = one(answer, &doing)?;
    Ok(Answers { stream, doing })
}

fn read(wire: v1::Injection) -> anyhow::Result<Injection> {
    let id = wire.id.clone();
    wire.try_into().with_context(|| {
        format!("cannot read what the daemon says of {id}; it may be newer than this client")
    })
}
