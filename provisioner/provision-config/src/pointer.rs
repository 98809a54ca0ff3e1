//! JSON pointers (RFC 6901): places in a rendered object.

use provision_model::{FieldPath, FieldSegment};

/// Escapes a key for a JSON pointer.
pub(crate) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Writes a field as a JSON pointer; an item that is known by its keys has no place in one.
pub(crate) fn pointer(field: &FieldPath) -> String {
    let step = |segment: &FieldSegment| match segment {
        FieldSegment::Key(key) => format!("/{}", escape(key)),
        FieldSegment::Index(index) => format!("/{index}"),
        FieldSegment::Item(_) => String::new(),
    };
    field.0.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_escaped_and_items_have_their_place() {
        let field = FieldPath::default().key("a/b~c").index(2);
        assert_eq!(pointer(&field), "/a~1b~0c/2");
    }
}
