//! The lessons as learners do them: in a lab, with each command as printed. Every lesson has a
//! solution that its check must accept, and a wrong one that it must reject.

mod console;
mod files;
pub mod script;

use rstest::rstest;
use serde_json::Value;

use crate::lab::Lab;
use files::{Lesson, lessons};
use script::{run, shell_commands};

/// Runs in one lab: the wrong solution, the commands of the text, the right solution, and the wrong
/// one once more, which must not pass because of earlier work.
async fn assert_lesson_works(number: usize, start: &[&str]) {
    let lesson = Lesson::of(number);
    let lab = Lab::start_with(start).await;
    let wrong = lesson.wrong_solution();
    let expected = wrong.expected_text();
    let ended = run(&lab, &wrong.text, &[]).await;
    assert_eq!(ended.code, Some(1), "{}: {ended:?}", wrong.path.display());
    assert!(
        ended.stdout.contains(&expected) && ended.stdout.contains("Not done yet."),
        "the check of {} must print {expected:?}: {ended:?}",
        wrong.path.display()
    );

    let commands = shell_commands(&lesson.text);
    let ended = run(&lab, &format!("set -euo pipefail\n{commands}"), &[]).await;
    assert_eq!(ended.code, Some(0), "lesson {number} as printed: {ended:?}");

    let solution = lesson.solution();
    let ended = run(&lab, &solution.text, &[]).await;
    assert_eq!(
        ended.code,
        Some(0),
        "{}: {ended:?}",
        solution.path.display()
    );
    assert!(ended.stdout.contains("Passed: "), "{ended:?}");
    let ended = run(&lab, "spoor lesson --output json", &[]).await;
    let listed: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    let is_passed = |it: &&Value| it["passed"] == true;
    let passed: Vec<&Value> = listed.iter().filter(is_passed).collect();
    assert_eq!(passed.len(), 1, "{ended:?}");
    assert_eq!(passed[0]["number"], number);

    let ended = run(&lab, &wrong.text, &[]).await;
    assert_eq!(ended.code, Some(1), "{}: {ended:?}", wrong.path.display());
    assert!(ended.stdout.contains("Not done yet."), "{ended:?}");
}

#[rstest]
#[case(1)]
#[case(2)]
#[case(3)]
#[case(4)]
#[case(5)]
#[case(6)]
#[case(7)]
#[case(8)]
#[case(9)]
#[case(10)]
#[tokio::test]
async fn checks_accept_only_the_solution(#[case] number: usize) {
    assert_lesson_works(number, &[]).await;
}

/// The bottleneck moves. The sum over the traces finds it, wherever it is.
#[tokio::test]
async fn each_bottleneck_can_be_found() {
    let lab = Lab::start().await;
    // A fault that the user set, which must stay.
    let own = [
        "fault",
        "marketplace-attic",
        "--operation",
        "none",
        "--delay",
        "1ms",
    ];
    lab.ok(&own).await;
    let before = lab.json(&["fault", "--output", "json"]).await;
    let script = Lesson::of(2).solution().text;
    for (seed, answer) in [
        ("0", "service-b: SELECT orders"),
        ("1", "service-b: heavy_calc"),
        ("2", "marketplace-attic: "),
        ("3", "efficientnetb0: load model"),
        ("4", "marketplace-bazaar: "),
        ("5", "marketplace-corner: "),
    ] {
        let ended = run(&lab, &script, &["--seed", seed]).await;
        assert_eq!(ended.code, Some(0), "seed {seed}: {ended:?}");
        let expected = format!("The answer: {answer}");
        assert!(ended.stdout.contains(&expected), "seed {seed}: {ended:?}");
    }
    assert_eq!(lab.json(&["fault", "--output", "json"]).await, before);
}

/// The answer of an earlier round must not pass, whether or not the traces of the later round
/// arrive.
#[tokio::test]
async fn only_the_last_round_counts() {
    let lab = Lab::start().await;
    let check = "spoor check 2 --answer 'service-b: heavy_calc' --wait 15s";
    let script = format!("spoor lesson 2 --start --seed 1 && {check}");
    let ended = run(&lab, &script, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let script = format!("spoor lesson 2 --start --seed 0 && {check}");
    let ended = run(&lab, &script, &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");

    lab.ok(&["override", "service-a", "0%", "--for", "10m", "--wait"])
        .await;
    let ended = run(&lab, "spoor lesson 2 --start --seed 1", &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("override-service-a (0%)"),
        "{ended:?}"
    );
    let ended = run(&lab, check, &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in ["the latest round", "override-service-a (0%)"] {
        assert!(ended.stdout.contains(part), "{ended:?}");
    }
}

/// An attempt whose times are in seconds is too old to be found, so the findings are about the
/// attempt before it.
#[tokio::test]
async fn attempt_with_wrong_times_is_mentioned() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let script = r#"
        attempt() {
            curl -sS --fail-with-body http://127.0.0.1:4318/v1/traces \
                -H 'content-type: application/json' -d '{"resourceSpans": [{
                    "resource": {"attributes": [{
                        "key": "service.name", "value": {"stringValue": "by-hand"}
                    }]},
                    "scopeSpans": [{"spans": [{
                        "traceId": "'"$(openssl rand -hex 16)"'",
                        "spanId": "'"$(openssl rand -hex 8)"'", "name": "make tea",
                        "startTimeUnixNano": "'"$1"'", "endTimeUnixNano": "'"$1"'"
                    }]}]
                }]}'
        }
        attempt "$(date +%s)000000000"
        spoor check 1
        attempt "$(date +%s)"
        spoor check 1
    "#;
    let ended = run(&lab, script, &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let (first, second) = ended.stdout.split_once("Not done yet.").unwrap();
    let hint = "Read 1 older trace of by-hand, too old to count";
    assert!(!first.contains(hint) && second.contains(hint), "{ended:?}");
}

#[tokio::test]
async fn every_lesson_is_listed() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let listed: Value = lab.json(&["lesson", "--output", "json"]).await;
    let listed: Vec<u64> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|lesson| lesson["number"].as_u64().unwrap())
        .collect();
    let in_folder: Vec<u64> = lessons().iter().map(|it| it.number as u64).collect();
    assert_eq!(listed, in_folder, "docs/lessons and `spoor lesson`");
    for lesson in lessons() {
        let number = lesson.number.to_string();
        assert_eq!(lab.ok(&["lesson", &number]).await, lesson.text);
    }
}

#[tokio::test]
async fn exit_codes_separate_usage_from_failure() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    for wrong in [
        &["check"][..],
        &["check", "99"],
        &["check", "first"],
        &["check", "1", "--wait", "soon"],
        &["check", "2", "--answer", "load model"],
        &["check", "2", "--answer", "a: b", "--answer", "c: d"],
        &["check", "2", "--answer", ":"],
        &["check", "4", "--answer", "began=a", "--answer", "began=b"],
        &["check", "6", "--answer", "wait=600ms"],
        &["check", "1", "--policies", "no-such-file.json"],
        &["lesson", "0"],
    ] {
        assert_eq!(lab.spoor(wrong).await.code, Some(2), "{wrong:?}");
    }
    let ended = run(&lab, "spoor check 1 --wait 0ms --output json", &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["passed"], false);
    assert_eq!(report["findings"][0]["state"], "missing");
}
