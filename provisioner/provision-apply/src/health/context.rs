use std::collections::HashMap;

use jiff::Timestamp;
use provision_model::Manifest;

use super::fields::{created, list, text, time, whole};

/// Kind, namespace and name. References between objects leave the API group out or differ in its version.
type Name = (String, Option<String>, String);

fn name_of(kind: &str, namespace: Option<&str>, name: &str) -> Name {
    (kind.to_owned(), namespace.map(str::to_owned), name.to_owned())
}

/// What surrounds the judged object: what it owns, what it refers to, and the Events about all of them.
///
/// Owners and Events are matched by UID; where the object or the reference has none (hand-written files), by kind, namespace and name.
pub(super) struct Context<'a> {
    objects: HashMap<Name, &'a Manifest>,
    owned: Links<'a>,
    events: Links<'a>,
}

#[derive(Default)]
struct Links<'a> {
    by_uid: HashMap<&'a str, Vec<&'a Manifest>>,
    without_uid: HashMap<Name, Vec<&'a Manifest>>,
    by_name: HashMap<Name, Vec<&'a Manifest>>,
}

impl<'a> Links<'a> {
    fn add(&mut self, target: Name, uid: Option<&'a str>, object: &'a Manifest) {
        match uid {
            Some(uid) => self.by_uid.entry(uid).or_default().push(object),
            None => self.without_uid.entry(target.clone()).or_default().push(object),
        }
        self.by_name.entry(target).or_default().push(object);
    }

    fn of(&self, object: &Manifest) -> Vec<&'a Manifest> {
        let name = name_of(object.kind(), object.namespace(), object.name());
        let (strict, loose) = match object.uid() {
            Some(uid) => (self.by_uid.get(uid), self.without_uid.get(&name)),
            None => (None, self.by_name.get(&name)),
        };
        strict.into_iter().chain(loose).flatten().copied().collect()
    }
}

impl<'a> Context<'a> {
    pub(super) fn new(objects: &[&'a Manifest]) -> Self {
        let mut context = Self { objects: HashMap::new(), owned: Links::default(), events: Links::default() };
        for object in objects.iter().copied() {
            if object.kind() == "Event" {
                let (root, namespace) = if text(object.value(), "/involvedObject/kind").is_some() {
                    ("/involvedObject", text(object.value(), "/involvedObject/namespace"))
                } else {
                    ("/regarding", text(object.value(), "/regarding/namespace"))
                };
                let about = |field: &str| text(object.value(), &format!("{root}/{field}"));
                let target = name_of(about("kind").unwrap_or_default(), namespace, about("name").unwrap_or_default());
                context.events.add(target, about("uid"), object);
                continue;
            }
            context.objects.insert(name_of(object.kind(), object.namespace(), object.name()), object);
            for owner in list(object.value(), "/metadata/ownerReferences") {
                let part = |field: &str| text(owner, field).unwrap_or_default();
                let name = name_of(part("/kind"), object.namespace(), part("/name"));
                context.owned.add(name, text(owner, "/uid"), object);
            }
        }
        context
    }

    /// Returns what the object owns directly, of one kind.
    pub(super) fn owned(&self, owner: &Manifest, kind: &str) -> Vec<&'a Manifest> {
        self.owned.of(owner).into_iter().filter(|object| object.kind() == kind).collect()
    }

    /// Returns all objects of a kind in a namespace.
    pub(super) fn all(&self, kind: &str, namespace: Option<&str>) -> impl Iterator<Item = &'a Manifest> {
        self.objects.values().copied().filter(move |object| object.kind() == kind && object.namespace() == namespace)
    }

    /// Finds an object by kind, namespace and name.
    pub(super) fn named(&self, kind: &str, namespace: Option<&str>, name: &str) -> Option<&'a Manifest> {
        self.objects.get(&name_of(kind, namespace, name)).copied()
    }

    /// Returns the Events about an object, the newest first.
    pub(super) fn events(&self, object: &Manifest) -> Vec<Happening<'a>> {
        let mut events: Vec<_> = self.events.of(object).into_iter().map(Happening::read).collect();
        events.sort_by_key(|event| std::cmp::Reverse(event.last));
        events
    }
}

/// An Event, from either of its two API groups.
#[derive(Debug, Clone, Copy)]
pub(super) struct Happening<'a> {
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
    pub(super) warning: bool,
    pub(super) count: i64,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    /// Container that the Event is about.
    pub(super) container: Option<&'a str>,
}

impl<'a> Happening<'a> {
    fn read(object: &'a Manifest) -> Self {
        let value = object.value();
        let any = |pointers: [&str; 4]| pointers.iter().find_map(|pointer| time(value, pointer));
        let first = any(["/firstTimestamp", "/eventTime", "/deprecatedFirstTimestamp", "/none"]).or_else(|| created(object));
        let last = any(["/series/lastObservedTime", "/lastTimestamp", "/deprecatedLastTimestamp", "/eventTime"]).or(first);
        let path = text(value, "/involvedObject/fieldPath").or_else(|| text(value, "/regarding/fieldPath"));
        let counts = ["/series/count", "/count", "/deprecatedCount"];
        Self {
            reason: text(value, "/reason").unwrap_or_default(),
            message: text(value, "/message").or_else(|| text(value, "/note")).unwrap_or_default(),
            warning: text(value, "/type") == Some("Warning"),
            count: counts.iter().find_map(|pointer| value.pointer(pointer).and_then(whole)).unwrap_or(1),
            first,
            last,
            container: path.and_then(|path| path.split_once('{')?.1.strip_suffix('}')),
        }
    }
}
