//! Each thread's own copy of the view in force.

use std::{
    cell::RefCell,
    sync::{Arc, atomic::Ordering},
};

use super::{
    counts::{Counters, Shard},
    live::Live,
    view::View,
};

thread_local! {
    static THREAD_VIEW: RefCell<Option<ThreadView>> = const { RefCell::new(None) };
}

struct ThreadView {
    view: Arc<View>,
    shard: Arc<Shard>,
}

impl Live {
    /// Calls `decide` with the view in force and the calling thread's shard in its counters.
    #[inline]
    pub(super) fn with_view<R>(&self, decide: impl Fn(&View, &Shard) -> R) -> R {
        let generation = self.generation.load(Ordering::Acquire);
        // Fails while the thread ends and its locals are already gone.
        let decided = THREAD_VIEW.try_with(|copy| {
            // Only nested decisions would borrow it twice, and there are none.
            let current = copy.try_borrow().ok()?;
            let copy = current
                .as_ref()
                .filter(|copy| copy.view.generation == generation)?;
            Some(decide(&copy.view, &copy.shard))
        });
        let decided = decided.ok().flatten();
        decided.unwrap_or_else(|| self.with_fresh_view(decide))
    }

    #[cold]
    fn with_fresh_view<R>(&self, decide: impl Fn(&View, &Shard) -> R) -> R {
        let view = self.view();
        let decided = THREAD_VIEW.try_with(|copy| {
            let mut copy = copy.try_borrow_mut().ok()?;
            match copy.as_mut().filter(|copy| copy.counts_in(&view.counters)) {
                // A new phase of the same plan keeps the shard, and with it the counts.
                Some(copy) => copy.view = Arc::clone(&view),
                None => *copy = Some(ThreadView::new(&view)),
            }
            copy.as_ref().map(|copy| decide(&copy.view, &copy.shard))
        });
        let decided = decided.ok().flatten();
        decided.unwrap_or_else(|| decide_on_exit(&view, decide))
    }
}

/// Decides for a thread that is ending and can no longer have a copy.
fn decide_on_exit<R>(view: &View, decide: impl Fn(&View, &Shard) -> R) -> R {
    let shard = view.counters.add_shard();
    let decision = decide(view, &shard);
    view.counters.retire(&shard);
    decision
}

impl ThreadView {
    fn new(view: &Arc<View>) -> Self {
        Self {
            view: Arc::clone(view),
            shard: view.counters.add_shard(),
        }
    }

    fn counts_in(&self, counters: &Arc<Counters>) -> bool {
        Arc::ptr_eq(&self.view.counters, counters)
    }
}

impl Drop for ThreadView {
    fn drop(&mut self) {
        self.view.counters.retire(&self.shard);
    }
}
