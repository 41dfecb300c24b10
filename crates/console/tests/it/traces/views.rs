//! The statistics and the flame graph of a trace.

use spoor_traces::TraceStore;

use super::{
    pages::{START, TRACE, page_of, store},
    spans::{a_to_b, batch, insert, span},
};

const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x>\u{202e}";

fn insert_hostile(store: &TraceStore) {
    let spans = vec![
        span(1, 1, 0, HOSTILE, START, START + 10),
        span(1, 2, 1, "x", START + 1, START + 9),
    ];
    insert(store, vec![batch(HOSTILE, spans)]);
}

/// The operations in the order of the table.
fn order(page: &str) -> Vec<&str> {
    let (_, table) = page.split_once("<tbody>").unwrap();
    let known = ["slow ", "often ", "root "];
    let mut found: Vec<(usize, &str)> = known
        .iter()
        .map(|name| (table.find(name).unwrap(), *name))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, name)| name.trim()).collect()
}

#[tokio::test]
async fn operations_are_sorted_by_column() {
    let store = store();
    let mut spans = vec![
        span(1, 1, 0, "root", START, START + 100),
        span(1, 2, 1, "slow", START, START + 60),
    ];
    spans.extend((0..4).map(|number| {
        let start = START + 60 + 6 * number;
        span(1, 10 + number, 1, "often", start, start + 6)
    }));
    insert(&store, vec![batch("service", spans)]);
    for (sort, expected) in [
        ("", ["slow", "often", "root"]),
        ("&sort=total", ["root", "slow", "often"]),
        ("&sort=p50", ["root", "slow", "often"]),
        ("&sort=name", ["often", "root", "slow"]),
        ("&sort=nothing", ["slow", "often", "root"]),
    ] {
        let page = page_of(&store, &format!("{TRACE}?view=operations{sort}")).await;
        assert!(page.contains("aria-current=\"page\">Operations</a>"));
        assert_eq!(order(&page), expected, "{sort}");
    }
    let page = page_of(&store, &format!("{TRACE}?view=operations&sort=count")).await;
    assert_eq!(order(&page).first(), Some(&"often"));
    assert!(page.contains("<th scope=\"col\" aria-sort=\"descending\">"));
}

#[tokio::test]
async fn flame_graph_zooms_into_a_frame() {
    let store = store();
    insert(&store, a_to_b(1, START, 100, true));
    let page = page_of(&store, &format!("{TRACE}?view=flame")).await;
    assert!(page.contains("class=\"flame\"") && page.contains("heavy_calc · service-b"));
    assert!(page.contains("?view=flame&amp;frame=1\" aria-label="));
    let zoomed = page_of(&store, &format!("{TRACE}?view=flame&frame=1")).await;
    assert!(zoomed.contains("Whole trace</a>"));
    // The frame above is a link of the path only.
    assert_eq!(zoomed.matches("frame=0\"").count(), 1);
    let beyond = page_of(&store, &format!("{TRACE}?view=flame&frame=999")).await;
    assert_eq!(
        beyond.matches("<title>").count(),
        page.matches("<title>").count()
    );
}

#[tokio::test]
async fn views_escape_names() {
    let store = store();
    insert_hostile(&store);
    for query in ["view=operations", "view=flame", "view=flame&frame=1"] {
        let page = page_of(&store, &format!("{TRACE}?{query}")).await;
        assert!(page.contains("&lt;script&gt;alert(1)"), "{query}");
        assert!(
            !page.contains("<script>") && !page.contains("<img"),
            "{query}"
        );
        assert!(!page.contains('\u{202e}'), "{query}");
    }
}

#[tokio::test]
async fn trace_without_duration_has_all_views() {
    let store = store();
    insert(
        &store,
        vec![batch(
            "service",
            vec![span(1, 1, 0, "instant", START, START)],
        )],
    );
    for query in ["view=operations", "view=flame"] {
        let page = page_of(&store, &format!("{TRACE}?{query}")).await;
        assert!(!page.contains("NaN") && !page.contains("inf%"), "{query}");
    }
}
