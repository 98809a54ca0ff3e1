use serde_json::Value as Json;

use super::{Body, Compiler, Loop, Position, Scalar, Template, TemplateMap};
use crate::render::program::{self, Program};
use crate::suggest::nearest;
use crate::tree::{Content, Entry, NodeId, Place};

const DIRECTIVES: [&str; 7] = ["$if", "$for", "$let", "$value", "$merge", "$include", "$with"];
const RESERVED: [&str; 5] = ["values", "environment", "region", "release", "loop"];

/// The directives of one map, by name.
#[derive(Default)]
struct Found {
    condition: Option<Entry>,
    repeat: Option<Entry>,
    lets: Option<Entry>,
    value: Option<Entry>,
    merge: Option<Entry>,
    include: Option<Entry>,
    with: Option<Entry>,
    rest: Vec<Entry>,
}

impl Compiler {
    pub(super) fn map(&mut self, entries: Vec<Entry>, place: Place, position: Position) -> Template {
        let found = self.sort(entries);
        if position == Position::Value
            && let Some(repeat) = &found.repeat
        {
            let help = "make it an item of a list, or put it under `$merge`";
            self.fail(repeat.key_place, "for-position", "`$for` repeats documents and items of lists, not the value of a key").help =
                Some(help.to_owned());
        }
        let repeat = found.repeat.as_ref().and_then(|entry| self.repeat(entry));
        let lets = found.lets.as_ref().map(|entry| self.named(entry)).unwrap_or_default();
        let condition = found.condition.as_ref().and_then(|entry| self.expression(entry));
        let condition_reads_lets = condition.as_ref().is_some_and(|scalar| {
            let source = source(&scalar.program);
            program::names(&source).iter().any(|name| lets.iter().any(|(own, _)| name.first() == Some(own)))
        });
        let body = self.body(found, place);
        Template::Map(Box::new(TemplateMap { condition, condition_reads_lets, repeat, lets, body, place }))
    }

    fn sort(&mut self, entries: Vec<Entry>) -> Found {
        let mut found = Found::default();
        for entry in entries {
            let slot = match entry.key.as_str() {
                "$if" => &mut found.condition,
                "$for" => &mut found.repeat,
                "$let" => &mut found.lets,
                "$value" => &mut found.value,
                "$merge" => &mut found.merge,
                "$include" => &mut found.include,
                "$with" => &mut found.with,
                key if key.starts_with('$') => {
                    let help = match nearest(key, DIRECTIVES) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("the directives are {}", DIRECTIVES.join(", ")),
                    };
                    self.fail(entry.key_place, "unknown-directive", format!("unknown directive `{key}`")).help = Some(help);
                    continue;
                }
                _ => {
                    found.rest.push(entry);
                    continue;
                }
            };
            *slot = Some(entry);
        }
        found
    }

    fn body(&mut self, found: Found, place: Place) -> Body {
        if let Some(with) = found.with.as_ref().filter(|_| found.include.is_none()) {
            self.fail(with.key_place, "with-alone", "`$with` stands only beside `$include`");
        }
        let alone = |entry: &Entry, compiler: &mut Self, others: &[&Option<Entry>], rest: &[Entry]| {
            let other = rest.first().or_else(|| others.iter().find_map(|other| other.as_ref()));
            if let Some(other) = other {
                let message = format!("`{}` can't stand beside `{}`", other.key, entry.key);
                let finding = compiler.fail(other.key_place, "directive-mix", message);
                finding.help = Some("merge maps with `$merge: [...]`".to_owned());
            }
        };
        if let Some(value) = &found.value {
            alone(value, self, &[&found.merge, &found.include], &found.rest);
            return Body::Value(Box::new(self.template(value.value, Position::Value)));
        }
        if let Some(include) = &found.include {
            alone(include, self, &[&found.merge], &found.rest);
            let with = found.with.as_ref().map(|entry| self.named(entry)).unwrap_or_default();
            return match self.include(include) {
                Some(fragment) => Body::Include { fragment, with },
                None => Body::Value(Box::new(Template::Literal(Json::Null, place))),
            };
        }
        let merges = found.merge.as_ref().map(|entry| self.merges(entry)).unwrap_or_default();
        Body::Map { merges, entries: found.rest.into_iter().map(|entry| self.entry(entry)).collect() }
    }

    fn merges(&mut self, entry: &Entry) -> Vec<Template> {
        match self.templates.tree.node(entry.value).content.clone() {
            Content::List(items) => items.into_iter().map(|item| self.template(item, Position::Item)).collect(),
            Content::Map(_) | Content::Scalar { .. } => {
                self.fail(entry.key_place, "merge-list", "`$merge` needs a list of maps");
                Vec::new()
            }
        }
    }

    fn include(&mut self, entry: &Entry) -> Option<usize> {
        let text = self.templates.tree.text(entry.value).map(str::to_owned);
        match text {
            Some(name) if program::read(&name).is_none() => self.fragment(&name, self.templates.tree.node(entry.value).place),
            _ => {
                self.fail(entry.key_place, "include-name", "`$include` needs the path of a fragment below `templates/`, as plain text");
                None
            }
        }
    }

    /// Compiles the map under `$let` or `$with`.
    fn named(&mut self, entry: &Entry) -> Vec<(String, Template)> {
        let Content::Map(entries) = self.templates.tree.node(entry.value).content.clone() else {
            self.fail(entry.key_place, "names-map", format!("`{}` needs a map of names", entry.key));
            return Vec::new();
        };
        let mut named = Vec::new();
        for inner in entries {
            self.check_name(&inner.key, inner.key_place);
            let value = self.template(inner.value, Position::Value);
            named.push((inner.key, value));
        }
        named
    }

    fn check_name(&mut self, name: &str, place: Place) {
        let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !letters || !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            self.fail(place, "bad-name", format!("`{name}` is no name: use letters, digits and `_`"));
        } else if RESERVED.contains(&name) {
            self.fail(place, "bad-name", format!("`{name}` has a meaning of its own; use another name"));
        }
    }

    /// Compiles `x in {{ items }}`, also `key, value in {{ map }}`.
    fn repeat(&mut self, entry: &Entry) -> Option<Loop> {
        let place = self.templates.tree.node(entry.value).place;
        let text = self.templates.tree.text(entry.value).unwrap_or_default().to_owned();
        let parsed = text.split_once(" in ").map(|(names, items)| {
            let names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
            (names, program::read(items.trim()), items.trim().to_owned())
        });
        let (names, items, source) = match parsed {
            Some((names, Some(items @ (Program::Path(_) | Program::Expression(_))), source)) => (names, items, source),
            _ => {
                let finding = self.fail(place, "for-syntax", format!("`$for` needs `name in {{{{ items }}}}`, not `{text}`"));
                finding.help = Some("for example `$for: \"service in {{ values.services }}\"`".to_owned());
                return None;
            }
        };
        if names.len() > 2 {
            self.fail(place, "for-syntax", "`$for` binds one name, or two: key and value");
        }
        for name in &names {
            self.check_name(name, place);
        }
        Some(Loop { names, items: self.scalar(items, &source, place) })
    }

    fn expression(&mut self, entry: &Entry) -> Option<Scalar> {
        let place = self.templates.tree.node(entry.value).place;
        let text = self.plain_text(entry.value);
        match text.as_deref().and_then(program::read) {
            Some(program @ (Program::Path(_) | Program::Expression(_))) => Some(self.scalar(program, &text.unwrap_or_default(), place)),
            _ => {
                self.fail(place, "if-syntax", format!("`{}` needs one `{{{{ expression }}}}`", entry.key));
                None
            }
        }
    }

    fn plain_text(&self, node: NodeId) -> Option<String> {
        self.templates.tree.text(node).map(str::to_owned)
    }
}

/// Returns the source of a program.
pub(crate) fn source(program: &Program) -> String {
    match program {
        Program::Path(steps) => steps.join("."),
        Program::Expression(source) | Program::Text(source) => source.clone(),
        Program::Parts(parts) => parts
            .iter()
            .map(|part| match part {
                program::Part::Text(text) => text.clone(),
                program::Part::Path(steps) => format!("{{{{ {} }}}}", steps.join(".")),
            })
            .collect(),
    }
}
