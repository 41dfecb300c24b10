//! Metrics of offers, in addition to those of every service.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        MetricType,
        gauge::{ConstGauge, Gauge},
    },
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
        let mut breakers = encoder.encode_descriptor(
            "spoor_offers_breaker",
            "1 for the state that a marketplace's circuit breaker is in",
            None,
            MetricType::Gauge,
        )?;
        for marketplace in self.marketplaces.iter() {
            let current = marketplace.breaker_state();
            for state in BreakerState::ALL {
                let labels = [
                    ("marketplace", &*marketplace.name),
                    ("state", state.as_str()),
                ];
                let value = i64::from(state == current);
                ConstGauge::new(value).encode(breakers.encode_family(&labels)?)?;
            }
        }
        let mut budgets = encoder.encode_descriptor(
            "spoor_offers_retry_budget",
            "Retries left in a marketplace's budget",
            None,
            MetricType::Gauge,
        )?;
        for marketplace in self.marketplaces.iter() {
            let labels = [("marketplace", &*marketplace.name)];
            ConstGauge::new(marketplace.budget()).encode(budgets.encode_family(&labels)?)?;
        }
        let offers = Gauge::<i64>::default();
        offers.set(i64::try_from(self.store.wishes().offer_count()).unwrap_or(i64::MAX));
        offers.encode(encoder.encode_descriptor(
            "spoor_offers_kept",
            "Offers stored",
            None,
            MetricType::Gauge,
        )?)
    }
}
