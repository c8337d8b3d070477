//! The gRPC interface over a Unix socket: peers by their credentials, errors as status codes with
//! details, and the engine behind it all.

mod peer;
mod service;
mod socket;
mod status;
mod targets;
mod watch;

pub use socket::{Access, Socket, SocketError};

use std::{future::Future, io, sync::Arc};

use chaos_common::proto::{DESCRIPTOR_SET, v1::chaos_daemon_server::ChaosDaemonServer};
use tonic::transport::Server;

use crate::engine::Engine;

/// Serves the engine until `ending` is ready, then lets calls under way finish.
///
/// # Errors
/// When the socket fails.
pub async fn serve(
    engine: Arc<Engine>,
    socket: Socket,
    ending: impl Future<Output = ()>,
) -> io::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<ChaosDaemonServer<service::Service>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(io::Error::other)?;
    let may = peer::Check::new(socket.access());
    let (closing, closed) = tokio::sync::watch::channel(false);
    let ending = async move {
        ending.await;
        health.set_not_serving::<ChaosDaemonServer<service::Service>>().await;
        // Watches have no end of their own.
        let _ = closing.send(true);
    };
    let service = service::Service::new(engine, closed);
    Server::builder()
        .layer(tonic::service::InterceptorLayer::new(move |request| may.check(request)))
        .add_service(health_service)
        .add_service(reflection)
        .add_service(ChaosDaemonServer::new(service))
        .serve_with_incoming_shutdown(socket.incoming(), ending)
        .await
        .map_err(io::Error::other)
}
