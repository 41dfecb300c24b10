//! Metrics of offers, in addition to those of every service.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::{breaker::BreakerState, marketplace::Marketplace, store::OfferStore};

/// The state of breakers, budgets and offers, which are read at each scrape.
#[derive(derive_more::Debug)]
#[debug("StateCollector")]
pub(super) struct StateCollector {
    pub(super) marketplaces: Arc<[Marketplace]>,
    pub(super) store: Arc<OfferStore>,
}

impl Collector for StateCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (name, kind) = ("spoor_offers_breaker", MetricType::Gauge);
        let help = "1 for the state that a marketplace's circuit breaker is in";
        let mut breakers = encoder.encode_descriptor(name, help, None, kind)?;
        for marketplace in self.marketplaces.iter() {
            let current = marketplace.breaker_state();
            for state in BreakerState::ALL {
                let name = state.to_string();
                let labels = [("marketplace", &*marketplace.name), ("state", &*name)];
                let value = i64::from(state == current);
                ConstGauge::new(value).encode(breakers.encode_family(&labels)?)?;
            }
        }
        let name = "spoor_offers_retry_budget";
        let help = "Retries left in a marketplace's budget";
        let mut budgets = encoder.encode_descriptor(name, help, None, kind)?;
        for marketplace in self.marketplaces.iter() {
            let labels = [("marketplace", &*marketplace.name)];
            ConstGauge::new(marketplace.budget()).encode(budgets.encode_family(&labels)?)?;
        }
        let count = self.store.wishes().offer_count();
        let offers = encoder.encode_descriptor("spoor_offers_kept", "Offers stored", None, kind)?;
        ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX)).encode(offers)
    }
}
