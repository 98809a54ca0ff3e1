//! Where the walk is; written out only when something is wrong there.

use provision_model::FieldPath;

/// A path as a chain of stack frames.
#[derive(Debug, Clone, Copy)]
pub(super) enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    pub(super) fn to_field(self) -> FieldPath {
        match self {
            Self::Root => FieldPath::default(),
            Self::Key(parent, key) => parent.to_field().key(key),
            Self::Index(parent, index) => parent.to_field().index(index),
        }
    }
}
