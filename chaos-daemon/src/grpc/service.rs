//! One method of the engine for each method of the wire.

use std::{pin::Pin, sync::Arc};

use chaos_common::{
    injection::State,
    invalid::{At as _, Invalid},
    proto::v1::{self, chaos_daemon_server::ChaosDaemon},
    spec::{InjectionId, Spec},
    wire,
};
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{
    peer, status,
    targets::{self, WithSockets},
    watch as watching,
};
use crate::engine::{Engine, EngineError, Which};

pub(super) struct Service {
    engine: Arc<Engine>,
    /// Turns true when the daemon goes down.
    closed: watch::Receiver<bool>,
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    pub(super) fn new(engine: Arc<Engine>, closed: watch::Receiver<bool>) -> Self {
        Self { engine, closed }
    }

    /// Runs what blocks on a thread that may.
    async fn on_engine<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Engine>) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let engine = Arc::clone(&self.engine);
        tokio::task::spawn_blocking(move || work(&engine))
            .await
            .map_err(|error| status::lost(&error))
    }

    /// The same for what the engine may refuse.
    async fn try_on_engine<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Engine>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Status> {
        self.on_engine(work).await?.map_err(|error| status::of(&error))
    }
}

fn id(text: String) -> Result<InjectionId, Status> {
    text.try_into().at("id").map_err(|invalid| status::invalid(&invalid))
}

fn spec(wire: Option<v1::Spec>) -> Result<Spec, Status> {
    let spec = match wire {
        Some(spec) => spec.try_into(),
        None => Err(Invalid::new("is missing")),
    };
    spec.at("spec").map_err(|invalid| status::invalid(&invalid))
}

fn all<T: Send + 'static>(messages: Vec<T>) -> Response<Messages<T>> {
    Response::new(Box::pin(tokio_stream::iter(messages).map(Ok)))
}

#[tonic::async_trait]
impl ChaosDaemon for Service {
    type ListTargetsStream = Messages<v1::TargetInfo>;
    type ListStream = Messages<v1::Injection>;
    type WatchStream = Messages<v1::WatchEvent>;

    async fn capabilities(
        &self,
        _request: Request<v1::CapabilitiesRequest>,
    ) -> Result<Response<v1::CapabilitiesResponse>, Status> {
        let capabilities = self.on_engine(|engine| engine.capabilities()).await?;
        let kernel = nix::sys::utsname::uname()
            .map(|name| name.release().to_string_lossy().into_owned())
            .unwrap_or_default();
        let faults = capabilities.into_iter().map(|capability| v1::FaultCapability {
            fault: capability.fault.to_string(),
            aspect: capability.aspect.to_owned(),
            support: Some(match capability.support {
                Ok(mechanism) => v1::fault_capability::Support::Mechanism(mechanism),
                Err(reason) => v1::fault_capability::Support::UnsupportedReason(reason),
            }),
            caveats: capability.caveats.into_iter().map(Into::into).collect(),
        });
        Ok(Response::new(v1::CapabilitiesResponse {
            kernel_release: kernel,
            daemon_version: env!("CARGO_PKG_VERSION").to_owned(),
            faults: faults.collect(),
        }))
    }

    async fn list_targets(
        &self,
        request: Request<v1::ListTargetsRequest>,
    ) -> Result<Response<Self::ListTargetsStream>, Status> {
        let with = if request.into_inner().sockets { WithSockets::Yes } else { WithSockets::No };
        let targets = self.on_engine(move |engine| targets::list(engine, with)).await??;
        Ok(all(targets))
    }

    async fn plan(
        &self,
        request: Request<v1::PlanRequest>,
    ) -> Result<Response<v1::PlanResponse>, Status> {
        let spec = spec(request.into_inner().spec)?;
        let plan = self.try_on_engine(move |engine| engine.plan(&spec)).await?;
        Ok(Response::new(v1::PlanResponse { cgroup: plan.cgroup.into(), effects: plan.effects }))
    }

    async fn inject(
        &self,
        request: Request<v1::InjectRequest>,
    ) -> Result<Response<v1::Injection>, Status> {
        let who = peer::name(&request);
        let request = request.into_inner();
        let id = if request.id.is_empty() { None } else { Some(id(request.id)?) };
        let spec = spec(request.spec)?;
        let injection = self.try_on_engine(move |engine| engine.inject(id, spec, &who)).await?;
        Ok(Response::new((&injection).into()))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::Injection>, Status> {
        let who = peer::name(&request);
        let request = request.into_inner();
        let id = id(request.id)?;
        let duration = request
            .duration
            .map(wire::from_duration)
            .transpose()
            .at("duration")
            .map_err(|invalid| status::invalid(&invalid))?;
        let injection = self.try_on_engine(move |engine| engine.renew(&id, duration, &who)).await?;
        Ok(Response::new((&injection).into()))
    }

    async fn recover(
        &self,
        request: Request<v1::RecoverRequest>,
    ) -> Result<Response<v1::Injection>, Status> {
        let who = peer::name(&request);
        let id = id(request.into_inner().id)?;
        let injection = self.try_on_engine(move |engine| engine.recover(&id, &who)).await?;
        Ok(Response::new((&injection).into()))
    }

    async fn recover_all(
        &self,
        request: Request<v1::RecoverAllRequest>,
    ) -> Result<Response<v1::RecoverAllResponse>, Status> {
        let who = peer::name(&request);
        let all = self.on_engine(move |engine| engine.recover_all(&who)).await?;
        let (failed, recovered): (Vec<_>, Vec<_>) = all
            .injections
            .into_iter()
            .partition(|injection| matches!(injection.state, State::Stuck(_)));
        Ok(Response::new(v1::RecoverAllResponse {
            recovered: recovered.into_iter().map(|injection| injection.id.into()).collect(),
            failed: failed
                .into_iter()
                .map(|injection| v1::Failure { id: injection.id.into(), reason: injection.message })
                .chain(
                    all.unswept.into_iter().map(|reason| v1::Failure { id: String::new(), reason }),
                )
                .collect(),
        }))
    }

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<v1::Injection>, Status> {
        let id = id(request.into_inner().id)?;
        let injection = self.try_on_engine(move |engine| engine.get(&id)).await?;
        Ok(Response::new((&injection).into()))
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let which = if request.into_inner().ended { Which::AlsoEnded } else { Which::Live };
        let injections = self.on_engine(move |engine| engine.list(which)).await?;
        Ok(all(injections.iter().map(v1::Injection::from).collect()))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let only = request.into_inner().id;
        let only = if only.is_empty() { None } else { Some(id(only)?) };
        // Subscribed before looking, so that no change falls between the two.
        let notices = self.on_engine(|engine| engine.subscribe()).await?;
        let first = match only.clone() {
            Some(id) => {
                self.try_on_engine(move |engine| engine.get(&id).map(|one| vec![one])).await?
            }
            None => self.on_engine(|engine| engine.list(Which::Live)).await?,
        };
        let first = first.iter().map(v1::Injection::from).collect();
        let events = watching::stream(first, notices, only, self.closed.clone());
        Ok(Response::new(Box::pin(ReceiverStream::new(events))))
    }
}
