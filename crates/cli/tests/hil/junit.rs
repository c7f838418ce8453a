//! A report, read by a parser of XML that did not write it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use roxmltree::{Document, Node};

/// What a report says.
#[derive(Debug)]
pub struct Junit {
    /// Properties of the suite.
    pub properties: BTreeMap<String, String>,
    /// Name of each test case and what stands in it: element, type, message.
    pub cases: Vec<(String, Vec<[String; 3]>)>,
    /// `tests`, `failures` and `errors`, the same for the suite and for all.
    pub totals: [usize; 3],
    /// What was written beside the guest's output.
    pub system_out: String,
}

/// Reads the report in `file`.
pub fn read(file: &Path) -> Junit {
    let text = fs::read_to_string(file).unwrap();
    let document = Document::parse(&text).unwrap();
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "testsuites");
    let suites: Vec<Node<'_, '_>> = elements(root).collect();
    assert_eq!(suites.len(), 1, "{text}");
    let suite = suites[0];
    let attribute = |node: Node<'_, '_>, name| node.attribute(name).unwrap_or_default().to_string();
    let properties = suite.descendants().filter(|node| node.has_tag_name("property"));
    let cases = elements(suite).filter(|node| node.has_tag_name("testcase"));
    let totals = |node| ["tests", "failures", "errors"].map(|name| attribute(node, name));
    assert_eq!(totals(root), totals(suite));
    let cases: Vec<_> = cases
        .map(|case| {
            let inside = elements(case).map(|child| {
                let name = child.tag_name().name().to_string();
                [name, attribute(child, "type"), attribute(child, "message")]
            });
            (attribute(case, "name"), inside.collect())
        })
        .collect();
    Junit {
        properties: properties
            .map(|node| (attribute(node, "name"), attribute(node, "value")))
            .collect(),
        cases,
        totals: totals(suite).map(|number| number.parse().unwrap()),
        system_out: elements(suite)
            .find(|node| node.has_tag_name("system-out"))
            .and_then(|node| node.text())
            .unwrap_or_default()
            .into(),
    }
}

fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

impl Junit {
    /// What stands in a test case.
    pub fn case(&self, name: &str) -> &[[String; 3]] {
        let case = self.cases.iter().find(|(own, _)| own == name);
        &case.unwrap_or_else(|| panic!("no test case {name}: {self:#?}")).1
    }

    /// Expects that `name` alone has this element, and that its type and message fit.
    #[track_caller]
    pub fn assert_only(&self, name: &str, element: &str, kind: &str, words: &str) {
        let with: Vec<&str> = self
            .cases
            .iter()
            .filter(|(_, inside)| inside.iter().any(|[own, ..]| own == element))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(with, [name], "{self:#?}");
        let [_, own_kind, message] = &self.case(name)[0];
        assert!(own_kind == kind && message.contains(words), "{kind} {words}: {self:#?}");
    }
}
