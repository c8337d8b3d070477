//! Prometheus metrics over HTTP, for whoever can reach the loopback.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use chaos_common::{abi::RuleStats, injection};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text::encode},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::engine::{Engine, Which};

/// Serves `/metrics` until `ended` is ready.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) async fn serve(
    engine: Arc<Engine>,
    address: SocketAddr,
    ended: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("serve metrics on {address}"))?;
    let mut registry = Registry::with_prefix("chaos");
    registry.register_collector(Box::new(Injections(engine)));
    let router = Router::new().route("/metrics", get(page)).with_state(Arc::new(registry));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(ended).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    });
    Ok(())
}

async fn page(State(registry): State<Arc<Registry>>) -> impl IntoResponse {
    let text = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        encode(&mut text, &registry).map(|()| text)
    })
    .await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match text {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Ok(Err(_)) | Err(_) => axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Name, help and value of a counter.
type Column = (&'static str, &'static str, fn(&RuleStats) -> u64);

/// Reads the engine when somebody asks.
struct Injections(Arc<Engine>);

impl std::fmt::Debug for Injections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Injections")
    }
}

impl Collector for Injections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let live = self.0.list(Which::Live);
        let stuck =
            live.iter().filter(|one| matches!(one.state, injection::State::Stuck(_))).count();
        let mut gauge = |name, help, value: usize| {
            let gauge = ConstGauge::new(value as i64);
            let descriptor =
                encoder.encode_descriptor(name, help, None::<&Unit>, gauge.metric_type())?;
            gauge.encode(descriptor)
        };
        gauge("injections_live", "Injections of which something may be on the node", live.len())?;
        gauge("injections_stuck", "Injections whose undo failed and is retried", stuck)?;
        let held = self.0.held_packets();
        gauge("held_packets", "Packets that a fault lets wait", held.waiting as usize)?;
        let lost = ConstCounter::new(held.lost);
        let help =
            "Packets lost that a fault was to let wait: for want of room, or of their device";
        lost.encode(encoder.encode_descriptor(
            "held_packets_lost",
            help,
            None::<&Unit>,
            lost.metric_type(),
        )?)?;

        let columns: [Column; 3] = [
            ("events_matched", "Events that passed the filters of a live injection", |stats| {
                stats.matched
            }),
            ("events_fired", "Events on which the fault of a live injection happened", |stats| {
                stats.fired
            }),
            (
                "events_past_lease",
                "Events let through because the daemon's lease had lapsed",
                |stats| stats.past_lease,
            ),
        ];
        for (name, help, column) in columns {
            let kind = ConstCounter::new(0u64).metric_type();
            let mut descriptor = encoder.encode_descriptor(name, help, None::<&Unit>, kind)?;
            for one in &live {
                let labels = [
                    ("id", one.id.as_str().to_owned()),
                    ("fault", one.spec.fault.kind().to_string()),
                ];
                let counter = ConstCounter::new(column(&one.counters));
                counter.encode(descriptor.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
