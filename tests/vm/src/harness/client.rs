//! The daemon's gRPC interface, blocking and with a deadline on every call.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use chaos_common::proto::v1::{self, chaos_daemon_client::ChaosDaemonClient};
use tokio::{runtime::Runtime, time::timeout};
use tonic::{
    Response, Status, Streaming,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tonic_types::StatusExt as _;

/// No call of these tests takes longer, on a slow machine either.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a daemon.
pub(crate) struct Client {
    runtime: Runtime,
    channel: Channel,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        // A thread of its own, so that the connection is alive between calls as that of any client.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let endpoint = Endpoint::try_from(format!("unix:{}", socket.display()))?;
        let channel = runtime
            .block_on(async { timeout(PATIENCE, endpoint.connect()).await })
            .context("connecting takes too long")?
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        Ok(Self { runtime, channel })
    }

    fn call<T>(
        &self,
        call: impl AsyncFnOnce(ChaosDaemonClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Status> {
        let client = ChaosDaemonClient::new(self.channel.clone());
        let answer = self.runtime.block_on(async { timeout(PATIENCE, call(client)).await });
        answer
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("the tests' patience")))
            .map(Response::into_inner)
    }

    /// What this node can do.
    pub(crate) fn capabilities(&self) -> Result<v1::CapabilitiesResponse, Status> {
        self.call(async |mut client| client.capabilities(v1::CapabilitiesRequest {}).await)
    }

    /// The cgroups of this node, with their sockets.
    pub(crate) fn targets(&self) -> Result<Vec<v1::TargetInfo>, Status> {
        let request = v1::ListTargetsRequest { sockets: true };
        let stream = self.call(async |mut client| client.list_targets(request).await)?;
        self.collect(stream)
    }

    /// What an injection would do.
    pub(crate) fn plan(&self, spec: v1::Spec) -> Result<v1::PlanResponse, Status> {
        self.call(async |mut client| client.plan(v1::PlanRequest { spec: Some(spec) }).await)
    }

    /// Injects under a name.
    pub(crate) fn inject_as(&self, id: &str, spec: v1::Spec) -> Result<v1::Injection, Status> {
        let request = v1::InjectRequest { id: id.into(), spec: Some(spec) };
        self.call(async |mut client| client.inject(request).await)
    }

    /// Injects under a name of the daemon's choice.
    pub(crate) fn inject(&self, spec: v1::Spec) -> Result<v1::Injection, Status> {
        self.inject_as("", spec)
    }

    /// Moves a deadline.
    pub(crate) fn renew(
        &self,
        id: &str,
        duration: Option<Duration>,
    ) -> Result<v1::Injection, Status> {
        let duration = duration.and_then(|duration| prost_types::Duration::try_from(duration).ok());
        let request = v1::RenewRequest { id: id.into(), duration };
        self.call(async |mut client| client.renew(request).await)
    }

    /// Ends an injection.
    pub(crate) fn recover(&self, id: &str) -> Result<v1::Injection, Status> {
        self.call(async |mut client| client.recover(v1::RecoverRequest { id: id.into() }).await)
    }

    /// Ends every injection.
    pub(crate) fn recover_all(&self) -> Result<v1::RecoverAllResponse, Status> {
        self.call(async |mut client| client.recover_all(v1::RecoverAllRequest {}).await)
    }

    /// An injection.
    pub(crate) fn get(&self, id: &str) -> Result<v1::Injection, Status> {
        self.call(async |mut client| client.get(v1::GetRequest { id: id.into() }).await)
    }

    /// Live injections.
    pub(crate) fn list(&self) -> Result<Vec<v1::Injection>, Status> {
        self.list_with(v1::ListRequest { ended: false })
    }

    /// Live injections and those that have ended.
    pub(crate) fn list_ended_too(&self) -> Result<Vec<v1::Injection>, Status> {
        self.list_with(v1::ListRequest { ended: true })
    }

    fn list_with(&self, request: v1::ListRequest) -> Result<Vec<v1::Injection>, Status> {
        let stream = self.call(async |mut client| client.list(request).await)?;
        self.collect(stream)
    }

    fn collect<T>(&self, mut stream: Streaming<T>) -> Result<Vec<T>, Status> {
        self.runtime.block_on(async {
            let mut items = Vec::new();
            while let Some(item) = stream.message().await? {
                items.push(item);
            }
            Ok(items)
        })
    }

    /// Begins to watch one injection, or all when the id is empty.
    pub(crate) fn watch(&self, id: &str) -> Result<Watch<'_>, Status> {
        let request = v1::WatchRequest { id: id.into() };
        let stream = self.call(async |mut client| client.watch(request).await)?;
        Ok(Watch { client: self, stream })
    }

    /// Whether the daemon says that it serves.
    pub(crate) fn is_serving(&self, service: &str) -> Result<bool> {
        use tonic_health::pb::health_check_response::ServingStatus;
        let request = HealthCheckRequest { service: service.into() };
        let mut client = HealthClient::new(self.channel.clone());
        let answer =
            self.runtime.block_on(async { timeout(PATIENCE, client.check(request)).await })??;
        Ok(answer.into_inner().status() == ServingStatus::Serving)
    }

    /// Names of the services, from the reflection service.
    pub(crate) fn services(&self) -> Result<Vec<String>> {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(self.channel.clone());
        let answer = self.runtime.block_on(async {
            let answers = client.server_reflection_info(tokio_stream_of(request)).await?;
            answers.into_inner().message().await
        })?;
        match answer.and_then(|answer| answer.message_response) {
            Some(MessageResponse::ListServicesResponse(list)) => {
                Ok(list.service.into_iter().map(|service| service.name).collect())
            }
            other => Err(anyhow!("the reflection service answers {other:?}")),
        }
    }
}

fn tokio_stream_of<T: Send + 'static>(item: T) -> tonic::codegen::tokio_stream::Once<T> {
    tonic::codegen::tokio_stream::once(item)
}

/// Events of the daemon as they come.
pub(crate) struct Watch<'a> {
    client: &'a Client,
    stream: Streaming<v1::WatchEvent>,
}

impl Watch<'_> {
    /// The next event; `None` when none comes in time.
    pub(crate) fn next(&mut self, within: Duration) -> Result<Option<v1::watch_event::Event>> {
        let next =
            self.client.runtime.block_on(async { timeout(within, self.stream.message()).await });
        match next {
            Err(_) => Ok(None),
            Ok(message) => {
                let message = message?.context("the daemon ended the stream")?;
                Ok(Some(message.event.context("an event without content")?))
            }
        }
    }

    /// The first event that fits.
    pub(crate) fn find<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut fits: impl FnMut(v1::watch_event::Event) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self
                .next(left)?
                .with_context(|| format!("watched {within:?} in vain for {what}"))?;
            if let Some(found) = fits(event) {
                return Ok(found);
            }
        }
    }
}

/// The reason in a refusal that a program can read.
pub(crate) fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.filter(|info| info.domain == "chaos.v1").map(|info| info.reason).unwrap_or_default()
}

/// The field that a refusal names.
pub(crate) fn field(status: &Status) -> Option<String> {
    let request = status.get_details_bad_request()?;
    Some(request.field_violations.first()?.field.clone())
}

/// A request that must be refused for a reason, in words.
///
/// # Errors
/// When it was granted, or refused for another reason.
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, why: &str) -> Result<Status> {
    match answer {
        Ok(answer) => bail!("should have been refused with {why}: {answer:?}"),
        Err(status) if reason(&status) == why && !status.message().is_empty() => Ok(status),
        Err(status) => bail!("should have been refused with {why}: {status:?}"),
    }
}
