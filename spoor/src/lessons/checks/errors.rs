//! Lesson 4: where an error began, and that it is gone.

use spoor_traces::tree::Tree;

use crate::{
    lessons::{place::Place, report::Report},
    traces::{AskError, printable},
};

/// Where requests come in.
const EDGE: &str = "service-a";

pub(crate) async fn check(place: &Place) -> anyhow::Result<Report> {
    let mut report = Report::new();
    let (Some(id), Some(began)) = (place.answers.named("trace"), place.answers.named("began"))
    else {
        let seen = "spoor check 4 --answer trace=ID --answer began=SERVICE";
        report.wrong("an answer", seen);
        return Ok(report);
    };
    report.looked_at(format!("trace {}", printable(id)));
    let tree = match place.traces.trace(id).await {
        Ok(batches) => Tree::new(batches),
        Err(error @ AskError::Unknown(_)) => {
            report.missing("a trace that has an error", error.to_string());
            return Ok(report);
        }
        Err(error) => return Err(error.into()),
    };
    if of_the_error(&mut report, &tree, began) {
        mended(&mut report, place, &tree).await?;
    }
    Ok(report)
}

/// Whether there is an error at all.
fn of_the_error(report: &mut Report, tree: &Tree, answered: &str) -> bool {
    let rows = tree.rows();
    let Some(origin) = tree.origin_of_errors().and_then(|origin| rows.get(origin)) else {
        report.wrong("a trace that has an error", "none of its spans is one");
        return false;
    };
    let (errors, spans) = (tree.errors(), rows.len());
    report.passed(
        "a trace that has an error",
        format!("{errors} of its {spans} spans are red"),
    );
    let is_red = tree
        .root()
        .is_some_and(|root| root.member.service() == EDGE && root.member.is_error());
    report.expect(
        is_red,
        "the error came up to service-a, whose caller saw it",
        "",
    );
    let what = "where it began";
    if origin.member.service() == answered {
        report.passed(what, format!("{answered}: {}", why(tree, origin)));
    } else {
        let seen = format!(
            "not in {}: a span is red there because one below it is",
            printable(answered)
        );
        report.wrong(what, seen);
    }
    true
}

fn why(tree: &Tree, origin: &spoor_traces::tree::Row) -> String {
    let said = origin.member.status_message();
    if said.is_empty() {
        let spans = tree.rows().len();
        format!("the lowest red span of {spans}")
    } else {
        printable(said)
    }
}

async fn mended(report: &mut Report, place: &Place, red: &Tree) -> anyhow::Result<()> {
    report.looked_at("the traces of service-a that began later");
    let found = place.traces_of(EDGE).await?;
    let newest = found.first().filter(|it| it.tree.start() > red.start());
    let what = "the newest request went well again";
    match newest {
        Some(newest) if newest.tree.errors() == 0 => report.passed(what, &newest.id),
        Some(newest) => report.missing(what, format!("{} has an error too", newest.id)),
        None => report.missing(what, "there is none after the one with the error"),
    }
    Ok(())
}
