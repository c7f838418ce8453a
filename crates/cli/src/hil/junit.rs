//! The report in JUnit's XML.
//!
//! Always: one suite with a test case for each [`Case`]; attempts that failed before the last one
//! stand as reruns in the case that failed; a case that was not decided is skipped.

use anyhow::Result;
use quick_junit::{
    NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestRerun, TestSuite,
};

use super::attempt::Attempt;
use super::failure::{Case, Failure};

/// What a report is of.
pub struct Subject<'a> {
    /// The suite's name.
    pub name: &'a str,
    /// Facts of the run: name and value.
    pub facts: &'a [(&'static str, String)],
    /// Whether rows were expected.
    pub has_manifest: bool,
}

/// The report on `attempts`, the last of which decides.
pub fn report(subject: &Subject<'_>, attempts: &[Attempt]) -> Result<String> {
    let mut suite = TestSuite::new(subject.name);
    for (name, value) in subject.facts {
        suite.add_property(Property::new(*name, value.as_str()));
    }
    suite.add_property(Property::new("attempts", attempts.len().to_string()));
    let Some((last, earlier)) = attempts.split_last() else { anyhow::bail!("no attempt") };
    for (name, value) in counted(last) {
        suite.add_property(Property::new(name, value));
    }
    for case in Case::ALL.into_iter().filter(|case| *case != Case::Manifest || subject.has_manifest)
    {
        suite.add_test_case(test_case(case, last, earlier));
    }
    suite.set_time(attempts.iter().map(|attempt| attempt.time).sum());
    let mut said = String::new();
    for (number, attempt) in attempts.iter().enumerate() {
        said.push_str(&format!("attempt {}\n", number + 1));
        attempt.transcript.iter().for_each(|line| said.push_str(&format!("{line}\n")));
    }
    suite.set_system_out(said);
    let mut report = Report::new("rootlet hil");
    report.add_test_suite(suite);
    Ok(report.to_string()?)
}

/// What the last attempt counted: the wire's figures, then the guest's.
fn counted(attempt: &Attempt) -> Vec<(String, String)> {
    let counts = &attempt.counts;
    let wire = [
        ("bytes", counts.bytes),
        ("frames", counts.frames),
        ("lost", counts.lost),
        ("stale", counts.stale),
        ("noise_lines", counts.noise_lines),
    ];
    let wire = wire.map(|(name, value)| (format!("wire.{name}"), value.to_string()));
    let hello = attempt.hello.iter().map(|(text, _)| ("guest".into(), text.clone()));
    let verdict = attempt.verdict.iter().flat_map(|verdict| &verdict.counters);
    let counters = verdict.map(|(name, value)| (format!("counter.{name}"), value.clone()));
    wire.into_iter().chain(hello).chain(counters).collect()
}

fn test_case(case: Case, last: &Attempt, earlier: &[Attempt]) -> TestCase {
    let mut status = match &last.failure {
        Some(failure) if failure.case == case => {
            let mut status = TestCaseStatus::non_success(kind(failure));
            status.set_message(failure.message.as_str()).set_type(failure.kind.name());
            status
        }
        Some(failure) if failure.case < case => TestCaseStatus::skipped(),
        _ => TestCaseStatus::success(),
    };
    let failures = earlier.iter().filter_map(|attempt| Some((attempt, attempt.failure.as_ref()?)));
    for (attempt, failure) in failures.filter(|(_, failure)| failure.case == case) {
        let mut rerun = TestRerun::new(kind(failure));
        rerun.set_message(failure.message.as_str()).set_type(failure.kind.name());
        rerun.set_time(attempt.time);
        if !matches!(status, TestCaseStatus::Skipped { .. }) {
            status.add_rerun(rerun);
        }
    }
    let mut test = TestCase::new(case.name(), status);
    test.set_classname("rootlet.hil");
    let time = match case {
        Case::Boot => last.hello.as_ref().map_or(last.time, |(_, at)| *at),
        Case::Command => last.hello.as_ref().map_or(last.time, |(_, at)| last.time - *at),
        Case::Wire | Case::Manifest => std::time::Duration::ZERO,
    };
    test.set_time(time);
    test
}

fn kind(failure: &Failure) -> NonSuccessKind {
    if failure.kind.is_the_guests() { NonSuccessKind::Failure } else { NonSuccessKind::Error }
}

#[cfg(test)]
mod tests {
    use super::super::failure::Kind;
    use super::*;
    use roxmltree::Document;

    fn failed(case: Case, kind: Kind, message: &str) -> Attempt {
        let failure = Some(Failure::new(case, kind, message.into()));
        Attempt { failure, ..Attempt::default() }
    }

    fn text(attempts: &[Attempt]) -> String {
        let facts = [("runner", "sh <\u{1}&\"x\"".to_string())];
        let subject = Subject { name: "b", facts: &facts, has_manifest: true };
        report(&subject, attempts).unwrap()
    }

    #[test]
    fn failed_attempt_before_a_passed_one_is_a_flake_of_its_case() {
        let xml = text(&[failed(Case::Wire, Kind::Lost, "2 lost"), Attempt::default()]);
        let document = Document::parse(&xml).unwrap();
        let flakes: Vec<_> =
            document.descendants().filter(|node| node.has_tag_name("flakyError")).collect();
        assert_eq!(flakes.len(), 1, "{xml}");
        assert_eq!(flakes[0].attribute("message"), Some("2 lost"));
        assert_eq!(flakes[0].parent().unwrap().attribute("name"), Some("wire"));
        assert_eq!(document.root_element().attribute("failures"), Some("0"));
    }

    #[test]
    fn what_was_not_decided_is_skipped_and_odd_characters_stay_xml() {
        let xml = text(&[failed(Case::Command, Kind::Verdict, "no <file> & \u{0}such")]);
        let document = Document::parse(&xml).unwrap();
        let names = |tag: &str| -> Vec<String> {
            let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
            let with = cases.filter(|case| case.children().any(|child| child.has_tag_name(tag)));
            with.map(|case| case.attribute("name").unwrap().into()).collect()
        };
        assert_eq!(names("failure"), ["command"], "{xml}");
        assert_eq!(names("skipped"), ["wire", "manifest"], "{xml}");
        let failure = document.descendants().find(|node| node.has_tag_name("failure")).unwrap();
        assert_eq!(failure.attribute("message"), Some("no <file> & such"));
    }
}
