//! A model of a stack of trees: the rules of docs/layers.md, over trees in memory.
//!
//! Always: simple enough to be read beside the rules.

use std::collections::{BTreeMap, BTreeSet};

use rootlet_rows::{Row, Rows, hex, sum, text_of, time_ns};
use rootlet_sim::image::{Kind, Node, Tree};

const ESCAPE: &str = "trusted.overlay.";

/// A node of a tree: the numbers of the layer and of the node.
type Place = (usize, usize);

/// Returns the rows of a stack, the bottom first.
pub fn rows(layers: &[Tree]) -> Rows {
    let links: Vec<Vec<u32>> = layers.iter().map(Tree::link_counts).collect();
    let roots = (0..layers.len()).rev().map(|layer| (layer, 0)).collect();
    let mut rows = Rows::new();
    let mut ahead: Vec<(Vec<u8>, Vec<Place>)> = vec![(Vec::new(), roots)];
    while let Some((path, parts)) = ahead.pop() {
        let (layer, number) = parts[0];
        rows.insert(text_of(&path), row(&layers[layer].nodes()[number], links[layer][number]));
        let entries = |&(layer, number): &Place| match &layers[layer].nodes()[number].kind {
            Kind::Dir(entries) => entries.clone(),
            _ => BTreeMap::new(),
        };
        let names: BTreeSet<Vec<u8>> =
            parts.iter().flat_map(|part| entries(part).into_keys()).collect();
        for name in names {
            let found = parts.iter().filter_map(|part| Some((part.0, *entries(part).get(&name)?)));
            let mut own: Vec<Place> = Vec::new();
            for (layer, number) in found {
                let node = &layers[layer].nodes()[number];
                let is_dir = matches!(node.kind, Kind::Dir(_));
                if own.is_empty() && !is_whiteout(node) || is_dir {
                    own.push((layer, number));
                }
                if !is_dir || is_opaque(node) {
                    break;
                }
            }
            if !own.is_empty() {
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                ahead.push(([&path, slash, &name].concat(), own));
            }
        }
    }
    rows
}

fn is_whiteout(node: &Node) -> bool {
    let is_marked = || node.meta.xattrs.iter().any(|(name, _)| name == "trusted.overlay.whiteout");
    match &node.kind {
        Kind::CharDevice(major, minor) => (*major, *minor) == (0, 0),
        Kind::File(content) => content.size() == 0 && is_marked(),
        _ => false,
    }
}

fn is_opaque(node: &Node) -> bool {
    node.meta.xattrs.contains(&("trusted.overlay.opaque".into(), b"y".to_vec()))
}

fn row(node: &Node, nlink: u32) -> Row {
    let mut row = Row {
        mode: node.st_mode().into(),
        owner: (node.meta.uid, node.meta.gid),
        mtime_ns: time_ns(node.meta.mtime_s, node.meta.mtime_ns),
        ..Row::default()
    };
    match &node.kind {
        Kind::File(content) => {
            row.sha256 = Some(sum(&content.to_vec()));
            (row.size, row.nlink) = (Some(content.size()), Some(nlink));
        }
        Kind::Symlink(target) => row.target = Some(text_of(target)),
        Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) => {
            row.rdev = Some((*major, *minor));
        }
        _ => {}
    }
    for (name, value) in &node.meta.xattrs {
        let shown = match name.strip_prefix(ESCAPE) {
            None => name.clone(),
            Some(rest) => match rest.strip_prefix("overlay.") {
                Some(rest) => format!("{ESCAPE}{rest}"),
                None => continue,
            },
        };
        row.xattrs.insert(shown, hex(value));
    }
    row
}
