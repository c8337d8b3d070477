//! Both ends of a stream of gRPC over TCP: the health service, whose answer changes all the time.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::time::sleep;
use tonic::transport::{Channel, Server};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
    server::health_reporter,
};

/// How long the answer stays the same.
const BEAT: Duration = Duration::from_millis(50);
const SERVICE: &str = "beat";

/// Serves until the process is killed.
///
/// # Errors
/// When the address cannot be had.
pub(super) fn serve(at: SocketAddr) -> Result<()> {
    block_on(async {
        let (reporter, service) = health_reporter();
        let beat = async {
            for status in [ServingStatus::Serving, ServingStatus::NotServing].into_iter().cycle() {
                reporter.set_service_status(SERVICE, status).await;
                sleep(BEAT).await;
            }
        };
        let server = Server::builder().add_service(service).serve(at);
        tokio::select! {
            () = beat => Ok(()),
            ended = server => ended.context("cannot serve gRPC"),
        }
    })
}

/// Watches so many changes, and says how many came, how long the longest pause was in milliseconds, and with which
/// status of gRPC it ended.
///
/// # Errors
/// When nobody serves.
pub(super) fn watch(at: SocketAddr, count: u32) -> Result<String> {
    block_on(async {
        let channel = Channel::from_shared(format!("http://{at}"))?.connect().await?;
        let request = HealthCheckRequest { service: SERVICE.into() };
        let (mut came, mut pause, mut last) = (0, Duration::ZERO, Instant::now());
        let mut stream = HealthClient::new(channel).watch(request).await?.into_inner();
        let status = loop {
            match stream.message().await {
                Ok(Some(_)) => {
                    came += 1;
                    pause = pause.max(last.elapsed());
                    last = Instant::now();
                    if came == count {
                        break tonic::Code::Ok;
                    }
                }
                Ok(None) => break tonic::Code::Aborted,
                Err(status) => break status.code(),
            }
        };
        Ok(format!("{came} {} {status:?}", pause.as_millis()))
    })
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)
}
