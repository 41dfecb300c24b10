//! Counters of searches and retries.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

type Labels = Vec<(&'static str, String)>;

/// Counters by marketplace. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct SearchCounters {
    searches: Family<Labels, Counter>,
    retries: Family<Labels, Counter>,
}

impl SearchCounters {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Searches on a marketplace by outcome, each counted once with its retries";
        registry.register("spoor_offers_searches", help, self.searches.clone());
        let help = "Attempts beyond the first";
        registry.register("spoor_offers_retries", help, self.retries.clone());
    }

    pub(super) fn count_search(&self, marketplace: &str, outcome: &str) {
        let labels = vec![
            ("marketplace", marketplace.to_owned()),
            ("outcome", outcome.to_owned()),
        ];
        self.searches.get_or_create_owned(&labels).inc();
    }

    pub(super) fn count_retry(&self, marketplace: &str) {
        let labels = vec![("marketplace", marketplace.to_owned())];
        self.retries.get_or_create_owned(&labels).inc();
    }
}
