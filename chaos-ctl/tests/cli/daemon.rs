//! A daemon that only plays one: it keeps injections in memory and breaks nothing.
//!
//! Names choose what happens: a unit `missing.service` is not found, `slow.service` is answered by
//! nothing, `protected.service` is refused by policy, a seed of 13 is an invalid spec, and an injection
//! whose id begins with `stuck` cannot be undone.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use chaos_common::{
    proto::v1::{
        self,
        chaos_daemon_server::{ChaosDaemon, ChaosDaemonServer},
        fault_capability::Support,
        watch_event::Event,
    },
    spec::Spec,
    wire::to_timestamp,
};
use tokio::net::UnixListener;
use tokio_stream::{Stream, StreamExt as _, wrappers::UnixListenerStream};
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_types::{ErrorDetails, StatusExt as _};

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// 2024-01-01T12:00:00Z: so long ago that what is left of any duration is always 0s.
const NOON: Duration = Duration::from_secs(1_704_110_400);

/// A running daemon with a socket of its own; both go when it is dropped.
pub(crate) struct Daemon {
    socket: PathBuf,
    state: State,
    _runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

type State = Arc<Mutex<BTreeMap<String, v1::Injection>>>;

impl Daemon {
    /// Starts one without injections.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("chaos.sock");
        let state = State::default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(&socket).unwrap()
        };
        let service = ChaosDaemonServer::new(Play(state.clone()));
        let server = Server::builder()
            .add_service(service)
            .serve_with_incoming(UnixListenerStream::new(listener));
        runtime.spawn(server);
        Self { socket, state, _runtime: runtime, _dir: dir }
    }

    /// The program, aimed at this daemon.
    pub(crate) fn chaos(&self, line: &str) -> snapbox::cmd::Command {
        super::chaos::chaos(line).env("CHAOS_SOCKET", &self.socket)
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Adds an injection without being asked.
    pub(crate) fn put(&self, injection: v1::Injection) {
        lock(&self.state).insert(injection.id.clone(), injection);
    }
}

fn lock(state: &State) -> std::sync::MutexGuard<'_, BTreeMap<String, v1::Injection>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An active injection of a fault on nginx, begun at noon.
pub(crate) fn injection(id: &str) -> v1::Injection {
    let text = "
target: {unit: nginx.service}
duration: 20d
times: 1000
fault: {networkLoss: {percent: 30, filter: {remote: [10.0.0.0/8], remotePorts: [5432, '6000-6010'], protocols: [tcp]}}}
";
    let spec: Spec = chaos_common::spec::from_yaml(text).unwrap().remove(0);
    started(id, (&spec).into())
}

/// An injection of which only the id can be read.
pub(crate) fn unreadable(id: &str) -> v1::Injection {
    v1::Injection { id: id.into(), ..Default::default() }
}

/// The same, over.
pub(crate) fn ended(mut injection: v1::Injection, end: v1::End) -> v1::Injection {
    injection.state = v1::State::Ended.into();
    injection.end = end.into();
    injection.ended_at = Some(to_timestamp(UNIX_EPOCH + NOON + Duration::from_secs(90)));
    injection
}

fn started(id: &str, spec: v1::Spec) -> v1::Injection {
    let lasts = spec.duration.map_or(300, |duration| duration.seconds);
    let ends = NOON + Duration::from_secs(lasts.unsigned_abs());
    v1::Injection {
        id: id.into(),
        seed: spec.seed.unwrap_or(42),
        spec: Some(spec),
        cgroup: "/system.slice/nginx.service".into(),
        cgroup_id: 4711,
        state: v1::State::Active.into(),
        created_at: Some(to_timestamp(UNIX_EPOCH + NOON)),
        expires_at: Some(to_timestamp(UNIX_EPOCH + ends)),
        counters: Some(v1::Counters {
            matched: 1000,
            fired: 300,
            spared: 690,
            past_lease: 10,
            ..Default::default()
        }),
        requested_by: "uid 0 (pid 4711)".into(),
        ..Default::default()
    }
}

fn refusal(code: Code, reason: &str, message: &str) -> Status {
    let details =
        ErrorDetails::with_error_info(reason, "chaos.v1", [("node".to_owned(), "here".to_owned())]);
    Status::with_error_details(code, message, details)
}

fn unknown(id: &str) -> Status {
    refusal(
        Code::NotFound,
        "UNKNOWN_INJECTION",
        &format!("no injection {id}; `chaos ls --all` lists them"),
    )
}

struct Play(State);

impl Play {
    async fn check(&self, spec: &v1::Spec) -> Result<(), Status> {
        if spec.seed == Some(13) {
            let mut details = ErrorDetails::with_error_info("INVALID_SPEC", "chaos.v1", []);
            details.add_bad_request_violation("spec.seed", "13 is bad luck; give another number");
            return Err(Status::with_error_details(
                Code::InvalidArgument,
                "the spec cannot be used",
                details,
            ));
        }
        let target = spec.target.as_ref().and_then(|target| target.target.as_ref());
        match target {
            Some(v1::target::Target::Unit(unit)) if unit == "missing.service" => Err(refusal(
                Code::NotFound,
                "TARGET_NOT_FOUND",
                "no unit missing.service on this node; `chaos targets` lists them",
            )),
            Some(v1::target::Target::Unit(unit)) if unit == "protected.service" => Err(refusal(
                Code::FailedPrecondition,
                "TARGET_PROTECTED",
                "protected.service is protected by the policy",
            )),
            Some(v1::target::Target::Unit(unit)) if unit == "gone.service" => {
                Err(Status::unavailable("shutting down"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut v1::Injection)) -> Answer<v1::Injection> {
        let mut all = lock(&self.0);
        let injection = all.get_mut(id).ok_or_else(|| unknown(id))?;
        change(injection);
        Ok(Response::new(injection.clone()))
    }
}

fn recover(injection: &mut v1::Injection) {
    if injection.id.starts_with("stuck") {
        injection.state = v1::State::Stuck.into();
        injection.end = v1::End::Recovered.into();
        injection.message = "detach of tcx/egress: device busy".into();
    } else {
        *injection = ended(injection.clone(), v1::End::Recovered);
    }
}

#[tonic::async_trait]
impl ChaosDaemon for Play {
    type ListTargetsStream = Answers<v1::TargetInfo>;
    type ListStream = Answers<v1::Injection>;
    type WatchStream = Answers<v1::WatchEvent>;

    async fn capabilities(
        &self,
        _: Request<v1::CapabilitiesRequest>,
    ) -> Answer<v1::CapabilitiesResponse> {
        const SLOW: &str = "counts are close, but not exact";
        let fault = |aspect: &str, support, caveats: &[&str]| v1::FaultCapability {
            fault: "network loss".into(),
            aspect: aspect.into(),
            support: Some(support),
            caveats: caveats.iter().map(|caveat| (*caveat).to_owned()).collect(),
        };
        Ok(Response::new(v1::CapabilitiesResponse {
            kernel_release: "6.12.0".into(),
            daemon_version: "0.1.0".into(),
            faults: vec![
                fault("direction in", Support::Mechanism("cgroup_skb ingress".into()), &[SLOW]),
                fault(
                    "direction out",
                    Support::Mechanism("clsact".into()),
                    &[SLOW, "devices that appear later are covered after a second"],
                ),
                fault(
                    "ipv6",
                    Support::UnsupportedReason("the kernel was built without IPv6".into()),
                    &[],
                ),
            ],
        }))
    }

    async fn list_targets(
        &self,
        request: Request<v1::ListTargetsRequest>,
    ) -> Answer<Self::ListTargetsStream> {
        let sockets = request.into_inner().sockets;
        let target = |kind: v1::TargetKind, name: &str, cgroup: &str, foreign| v1::TargetInfo {
            cgroup: cgroup.into(),
            cgroup_id: 4711,
            kind: kind.into(),
            name: name.into(),
            pids: vec![1, 22, 333, 4444, 55555, 666_666],
            sockets: sockets.then_some(v1::SocketCount { held: 12, foreign }),
            ..Default::default()
        };
        let id = "0123456789abcdef".repeat(4);
        let uid = "01234567-89ab-cdef-0123-456789abcdef";
        let mut container = target(v1::TargetKind::Container, &id, "/docker/0123", 3);
        container.runtime = "docker".into();
        let mut sshd =
            target(v1::TargetKind::Unit, "sshd.service", "/system.slice/sshd.service", 0);
        sshd.protected_reason = "the way in".into();
        let all = vec![
            target(v1::TargetKind::Unit, "nginx.service", "/system.slice/nginx.service", 0),
            sshd,
            container,
            target(v1::TargetKind::Pod, uid, "/kubepods/pod0123", 0),
            target(v1::TargetKind::Cgroup, "", "/evil\u{1b}[2J", 0),
        ];
        Ok(Response::new(Box::pin(tokio_stream::iter(all).map(Ok))))
    }

    async fn plan(&self, request: Request<v1::PlanRequest>) -> Answer<v1::PlanResponse> {
        let spec = request.into_inner().spec.unwrap_or_default();
        self.check(&spec).await?;
        Ok(Response::new(v1::PlanResponse {
            cgroup: "/system.slice/nginx.service".into(),
            effects: vec![
                "put rule 1 for cgroup 4711".into(),
                "attach chaos_net_egress to eth0 (tcx)".into(),
            ],
        }))
    }

    async fn inject(&self, request: Request<v1::InjectRequest>) -> Answer<v1::Injection> {
        let v1::InjectRequest { id, spec } = request.into_inner();
        let spec = spec.unwrap_or_default();
        self.check(&spec).await?;
        let mut all = lock(&self.0);
        match all.get(&id) {
            Some(old) if old.spec.as_ref() == Some(&spec) => Ok(Response::new(old.clone())),
            Some(_) => Err(refusal(
                Code::AlreadyExists,
                "ID_TAKEN",
                &format!("{id} is another injection; give another id"),
            )),
            None => {
                let injection = started(&id, spec);
                all.insert(id, injection.clone());
                Ok(Response::new(injection))
            }
        }
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Answer<v1::Injection> {
        let v1::RenewRequest { id, duration } = request.into_inner();
        self.change(&id, |injection| {
            let seconds = duration.map_or(300, |duration| duration.seconds).unsigned_abs();
            injection.expires_at =
                Some(to_timestamp(UNIX_EPOCH + NOON + Duration::from_secs(seconds)));
        })
    }

    async fn recover(&self, request: Request<v1::RecoverRequest>) -> Answer<v1::Injection> {
        self.change(&request.into_inner().id, recover)
    }

    async fn recover_all(
        &self,
        _: Request<v1::RecoverAllRequest>,
    ) -> Answer<v1::RecoverAllResponse> {
        let mut response = v1::RecoverAllResponse::default();
        for injection in lock(&self.0).values_mut() {
            recover(injection);
            match injection.message.as_str() {
                "" => response.recovered.push(injection.id.clone()),
                reason => {
                    response
                        .failed
                        .push(v1::Failure { id: injection.id.clone(), reason: reason.into() });
                }
            }
        }
        Ok(Response::new(response))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Answer<v1::Injection> {
        self.change(&request.into_inner().id, |_| ())
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Answer<Self::ListStream> {
        let all = request.into_inner().ended;
        let found: Vec<_> = lock(&self.0)
            .values()
            .filter(|injection| all || injection.state() != v1::State::Ended)
            .cloned()
            .map(Ok)
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(found))))
    }

    /// Each live injection, one firing, a gap, and the end of an injection that was asked for; then
    /// nothing more, but the stream stays open.
    async fn watch(&self, request: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        let id = request.into_inner().id;
        let all = lock(&self.0);
        if !id.is_empty() && !all.contains_key(&id) {
            return Err(unknown(&id));
        }
        let live = all.values().filter(|injection| {
            injection.state() != v1::State::Ended && (id.is_empty() || injection.id == id)
        });
        let live: Vec<v1::Injection> = live.cloned().collect();
        let mut events: Vec<Event> = live.iter().cloned().map(Event::Changed).collect();
        if let Some(injection) = live.first() {
            events.push(Event::Firing(firing(&injection.id)));
            events.push(Event::Missed(7));
            if !id.is_empty() {
                events.push(Event::Changed(ended(injection.clone(), v1::End::Expired)));
            }
        }
        let events = events.into_iter().map(|event| Ok(v1::WatchEvent { event: Some(event) }));
        let open = tokio_stream::pending();
        Ok(Response::new(Box::pin(tokio_stream::iter(events.collect::<Vec<_>>()).chain(open))))
    }
}

fn firing(id: &str) -> v1::Firing {
    v1::Firing {
        id: id.into(),
        time: Some(to_timestamp(UNIX_EPOCH + NOON + Duration::from_micros(1_500_000))),
        n: 17,
        what: Some(v1::firing::What::Packet(v1::Packet {
            direction: v1::Direction::Out.into(),
            protocol: 6,
            local_address: "10.0.0.2".into(),
            local_port: 40000,
            remote_address: "10.0.0.1".into(),
            remote_port: 5432,
            length: 60,
            question: None,
        })),
        process: Some(v1::Process { pid: 812, comm: "nginx".into() }),
    }
}
