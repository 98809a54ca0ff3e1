//! One page of a bucket's keys, as `ListObjectsV2` defines it.

use std::ops::Bound;
use std::sync::Arc;

use crate::store::{Object, Objects};

/// Most entries of a page.
const LONGEST: usize = 1000;

/// What is to be listed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Query<'a> {
    pub(crate) prefix: &'a str,
    /// Keys that hold it after the prefix are shown as one entry, up to and with it.
    pub(crate) delimiter: Option<&'a str>,
    /// Entries up to and with this one are left out.
    pub(crate) after: Option<&'a str>,
    pub(crate) limit: Option<usize>,
}

/// A page of a listing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) prefixes: Vec<String>,
    /// Last entry of this page, if another page follows.
    pub(crate) next: Option<String>,
}

impl Page {
    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.objects.len() + self.prefixes.len()
    }
}

/// Returns the page that `query` asks for; the entries are in the order of their bytes.
pub(crate) fn list(objects: &Objects, query: Query<'_>) -> Page {
    let limit = query.limit.unwrap_or(LONGEST).min(LONGEST);
    let mut page = Page::default();
    let mut last: Option<String> = None;
    let from = query.after.filter(|after| *after > query.prefix).map_or(Bound::Included(query.prefix), Bound::Excluded);
    for (key, object) in objects.range::<str, _>((from, Bound::Unbounded)) {
        let Some(rest) = key.strip_prefix(query.prefix) else { break };
        let group = query.delimiter.and_then(|delimiter| {
            let at = rest.find(delimiter)?;
            Some(&key[..query.prefix.len() + at + delimiter.len()])
        });
        let entry = group.unwrap_or(key);
        if last.as_deref() == Some(entry) || query.after.is_some_and(|after| entry <= after) {
            continue;
        }
        if page.len() == limit {
            // A page without entries has no place to go on from.
            page.next = last;
            break;
        }
        match group {
            Some(group) => page.prefixes.push(group.to_owned()),
            None => page.objects.push(Arc::clone(object)),
        }
        last = Some(entry.to_owned());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Attributes;

    fn check_pages(keys: &str, query: Query<'_>, expected: &[&str]) {
        let object =
            |key: &str| Object { key: key.to_owned(), size: 0, tag: String::new(), modified: 0, attributes: Attributes::default() };
        let objects: Objects = keys.split(' ').map(|key| (key.to_owned(), Arc::new(object(key)))).collect();
        let (mut pages, mut after) = (Vec::new(), query.after.map(str::to_owned));
        loop {
            let page = list(&objects, Query { after: after.as_deref(), ..query });
            let mut entries: Vec<String> = page.objects.iter().map(|object| object.key.clone()).collect();
            entries.extend(page.prefixes);
            entries.sort();
            pages.push(entries.join(" "));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(pages, expected);
    }

    #[test]
    fn a_prefix_chooses_keys() {
        check_pages("a b/1 b/2 b0 c", Query { prefix: "b/", ..Query::default() }, &["b/1 b/2"]);
        check_pages("a b/1 b/2 b0 c", Query { prefix: "z", ..Query::default() }, &[""]);
    }

    #[test]
    fn keys_below_a_delimiter_are_one_entry() {
        let query = Query { delimiter: Some("/"), ..Query::default() };
        check_pages("a b/1 b/2 b/c/3 d", query, &["a b/ d"]);
        check_pages("a b/1 b/2 b/c/3 d", Query { prefix: "b/", ..query }, &["b/1 b/2 b/c/"]);
        check_pages("b/ b/1", Query { prefix: "b/", ..query }, &["b/ b/1"]);
    }

    #[test]
    fn pages_follow_each_other_without_gaps_or_repeats() {
        check_pages("a b c d e", Query { limit: Some(2), ..Query::default() }, &["a b", "c d", "e"]);
        check_pages("a b c d", Query { limit: Some(2), ..Query::default() }, &["a b", "c d"]);
        let query = Query { delimiter: Some("/"), limit: Some(1), ..Query::default() };
        check_pages("a/1 a/2 b c/1 c/2", query, &["a/", "b", "c/"]);
    }

    #[test]
    fn a_listing_begins_after_a_key_that_need_not_exist() {
        check_pages("a b c", Query { after: Some("aa"), ..Query::default() }, &["b c"]);
        check_pages("a b c", Query { after: Some("a"), prefix: "b", ..Query::default() }, &["b"]);
        check_pages("a b c", Query { after: Some("c"), prefix: "b", ..Query::default() }, &[""]);
    }

    #[test]
    fn no_page_is_longer_than_the_protocol_allows() {
        let keys: Vec<String> = (0..1001).map(|number| format!("{number:04}")).collect();
        check_pages(&keys.join(" "), Query { limit: Some(5000), ..Query::default() }, &[&keys[..1000].join(" "), "1000"]);
    }

    #[test]
    fn a_page_of_no_entries_ends_the_listing() {
        check_pages("a b", Query { limit: Some(0), ..Query::default() }, &[""]);
    }
}
