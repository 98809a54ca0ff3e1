use std::collections::HashMap;

use provision_model::Finding;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::{Content, Entry, MergeTag, Node, NodeId, Place, Tree};

/// Most nodes of one file once aliases are written out, and deepest nesting.
const NODE_BUDGET: usize = 200_000;
const DEPTH_BUDGET: usize = 64;

/// What a file may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadRules {
    /// Whether `!delete` and `!replace` mean something.
    pub(crate) merge_tags: bool,
    /// Whether more than one document is an error.
    pub(crate) single_document: bool,
}

/// Reads the documents of a file into the tree; empty documents are left out.
///
/// # Errors
/// Findings with their places, all that can be found: after a syntax error the rest of the file is not read.
pub(crate) fn read_documents(tree: &mut Tree, name: &str, text: &str, rules: ReadRules) -> Result<Vec<NodeId>, Vec<Finding>> {
    let file = tree.add_file(name);
    let mut reader =
        Reader { tree, file, rules, findings: Vec::new(), documents: Vec::new(), stack: Vec::new(), anchors: HashMap::new(), expanded: 0 };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => {
                if !reader.event(event, span) {
                    break;
                }
            }
            Err(error) => {
                reader.syntax_error(text, &error);
                break;
            }
        }
    }
    if reader.findings.is_empty() { Ok(reader.documents) } else { Err(reader.findings) }
}

/// A map or list that is being read.
enum Frame {
    Map { node: Open, entries: Vec<Entry>, seen: HashMap<String, Place>, key: Option<(String, Place)> },
    List { node: Open, items: Vec<NodeId> },
}

struct Open {
    place: Place,
    anchor: usize,
    tag: Option<MergeTag>,
    expanded_before: usize,
}

struct Anchor {
    node: NodeId,
    expanded: usize,
}

struct Reader<'t> {
    tree: &'t mut Tree,
    file: u32,
    rules: ReadRules,
    findings: Vec<Finding>,
    documents: Vec<NodeId>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchor>,
    expanded: usize,
}

impl Reader<'_> {
    fn place(&self, marker: &Marker) -> Place {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Place { file: self.file, line: number(marker.line().max(1)), column: number(marker.col() + 1) }
    }

    fn fail(&mut self, place: Place, code: &str, message: impl Into<String>) -> &mut Finding {
        let origin = self.tree.origin(place);
        self.findings.push(Finding::fatal(code, message).at(origin));
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// Takes one event; false when reading on makes no sense.
    fn event(&mut self, event: Event<'_>, span: Span) -> bool {
        let place = self.place(&span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.anchors.clear();
                if self.rules.single_document && !self.documents.is_empty() {
                    self.fail(place, "several-documents", "a second document starts here; the file must hold one map");
                    return false;
                }
            }
            Event::Alias(anchor) => return self.alias(place, anchor),
            Event::Scalar(text, style, anchor, tag) => {
                return self.scalar(place, (text.into_owned(), style), anchor, tag.as_deref());
            }
            Event::SequenceStart(anchor, tag) => {
                let node = self.open(place, anchor, tag.as_deref());
                self.stack.push(Frame::List { node, items: Vec::new() });
                return self.within_depth(place);
            }
            Event::MappingStart(anchor, tag) => {
                let node = self.open(place, anchor, tag.as_deref());
                self.stack.push(Frame::Map { node, entries: Vec::new(), seen: HashMap::new(), key: None });
                return self.within_depth(place);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
        true
    }

    fn open(&mut self, place: Place, anchor: usize, tag: Option<&Tag>) -> Open {
        let (tag, _) = self.tag(place, tag);
        Open { place, anchor, tag, expanded_before: self.expanded }
    }

    fn within_depth(&mut self, place: Place) -> bool {
        if self.stack.len() <= DEPTH_BUDGET {
            return true;
        }
        self.fail(place, "too-deep", format!("more than {DEPTH_BUDGET} levels of nesting"));
        false
    }

    /// Reads a tag: what it tells a merge, and whether it makes a scalar a text.
    fn tag(&mut self, place: Place, tag: Option<&Tag>) -> (Option<MergeTag>, bool) {
        let Some(tag) = tag else { return (None, false) };
        match (tag.is_yaml_core_schema(), tag.handle.as_str(), tag.suffix.as_str()) {
            (true, _, "str") | (false, "" | "!", "") => (None, true),
            (true, _, "int" | "float" | "bool" | "null" | "map" | "seq") => (None, false),
            (false, "!", "delete") if self.rules.merge_tags => (Some(MergeTag::Delete), false),
            (false, "!", "replace") if self.rules.merge_tags => (Some(MergeTag::Replace), false),
            _ => {
                let known =
                    if self.rules.merge_tags { "`!delete` and `!replace` are the tags there are" } else { "templates have no tags" };
                let message = format!("unknown tag `{tag}`");
                self.fail(place, "unknown-tag", message).help = Some(known.to_owned());
                (None, false)
            }
        }
    }

    fn scalar(&mut self, place: Place, (text, style): (String, ScalarStyle), anchor: usize, tag: Option<&Tag>) -> bool {
        let (tag, is_text) = self.tag(place, tag);
        if self.takes_key() {
            if tag.is_some() {
                self.fail(place, "wrong-tag", "this tag belongs before the value, not before the key").help =
                    Some(format!("for example `{text}: !delete`"));
            }
            if text == "<<" && style == ScalarStyle::Plain {
                let help = "write the keys out, or put what is shared into a lower layer";
                self.fail(place, "merge-key", "the merge key `<<` is not part of YAML 1.2").help = Some(help.to_owned());
            }
            self.key(text, place);
            return true;
        }
        // An empty value has no place of its own; its key has.
        let place = if text.is_empty() && style == ScalarStyle::Plain { self.key_place().unwrap_or(place) } else { place };
        let plain = style == ScalarStyle::Plain && !is_text;
        self.expanded += 1;
        let node = self.tree.add(Node { content: Content::Scalar { text, plain }, place, tag, overridden: None });
        if anchor > 0 {
            self.anchors.insert(anchor, Anchor { node, expanded: 1 });
        }
        self.put(node);
        self.within_budget(place)
    }

    fn alias(&mut self, place: Place, anchor: usize) -> bool {
        if self.takes_key() {
            self.fail(place, "complex-key", "a key must be a text, not an alias");
            return false;
        }
        let Some(known) = self.anchors.get(&anchor) else {
            self.fail(place, "alias-cycle", "the alias stands inside the value that it repeats");
            return false;
        };
        let node = known.node;
        self.expanded = self.expanded.saturating_add(known.expanded);
        self.put(node);
        self.within_budget(place)
    }

    fn within_budget(&mut self, place: Place) -> bool {
        if self.expanded <= NODE_BUDGET {
            return true;
        }
        let message = format!("the file has more than {NODE_BUDGET} values once its aliases are written out");
        self.fail(place, "alias-budget", message);
        false
    }

    fn takes_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame::Map { key: None, .. }))
    }

    fn key_place(&self) -> Option<Place> {
        match self.stack.last() {
            Some(Frame::Map { key: Some((_, place)), .. }) => Some(*place),
            _ => None,
        }
    }

    fn key(&mut self, text: String, place: Place) {
        let Some(Frame::Map { seen, key, .. }) = self.stack.last_mut() else { return };
        let first = seen.get(&text).copied();
        if first.is_none() {
            seen.insert(text.clone(), place);
        }
        *key = Some((text.clone(), place));
        if let Some(first) = first {
            let other = self.tree.origin(first);
            let finding = self.fail(place, "duplicate-key", format!("the key `{text}` is here twice; first at line {}", first.line));
            finding.origins.push(other);
        }
    }

    fn close(&mut self) {
        let Some(frame) = self.stack.pop() else { return };
        let (open, content) = match frame {
            Frame::Map { node, entries, .. } => (node, Content::Map(entries)),
            Frame::List { node, items } => (node, Content::List(items)),
        };
        self.expanded += 1;
        let node = self.tree.add(Node { content, place: open.place, tag: open.tag, overridden: None });
        if open.anchor > 0 {
            self.anchors.insert(open.anchor, Anchor { node, expanded: self.expanded - open.expanded_before });
        }
        self.put(node);
    }

    fn put(&mut self, node: NodeId) {
        let place = self.tree.node(node).place;
        match self.stack.last_mut() {
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { entries, key, .. }) => match key.take() {
                Some((key, key_place)) => entries.push(Entry { key, key_place, value: node }),
                None => {
                    self.fail(place, "complex-key", "a key must be a text, not a map or a list");
                }
            },
            None => {
                let empty = self.tree.text(node) == Some("");
                if !empty {
                    self.documents.push(node);
                }
            }
        }
    }

    /// Explains a syntax error; tabs as indentation are by far the most common cause and are all listed.
    fn syntax_error(&mut self, text: &str, error: &ScanError) {
        let mut place = self.place(error.marker());
        let last = u32::try_from(text.lines().count().max(1)).unwrap_or(u32::MAX);
        if place.line > last {
            // What is missing at the end of the file is missing behind its last line.
            let width = text.lines().next_back().map_or(0, |line| line.chars().count());
            place = Place { line: last, column: u32::try_from(width + 1).unwrap_or(1), ..place };
        }
        let limit = usize::try_from(place.line).unwrap_or(usize::MAX).saturating_add(1);
        let tab = |line: &str| {
            let indentation = &line[..line.len() - line.trim_start().len()];
            indentation.chars().position(|c| c == '\t').filter(|_| !line.trim().is_empty())
        };
        let found: Vec<(usize, usize)> = text.lines().enumerate().filter_map(|(number, line)| Some((number, tab(line)?))).collect();
        if found.iter().any(|(number, _)| *number < limit) {
            for (number, column) in found {
                let place = Place { line: u32::try_from(number + 1).unwrap_or(1), column: u32::try_from(column + 1).unwrap_or(1), ..place };
                self.fail(place, "tab-indentation", "a tab stands in the indentation").help = Some("indent with spaces".to_owned());
            }
        } else {
            self.fail(place, "yaml-syntax", error.info().to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
