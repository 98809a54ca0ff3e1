//! What clients may call: the methods of the protobuf files and nothing else.

/// A service behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Features,
    Repositories,
}

impl Target {
    /// Returns the service's name, for people and for labels.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Features => "feature-service",
            Self::Repositories => "repository-service",
        }
    }
}

/// One method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Method {
    pub(crate) target: Target,
    pub(crate) path: &'static str,
    /// Whether it answers with a stream of events, which may last for hours.
    pub(crate) streams: bool,
}

/// All of them; a test compares them with the files.
pub(crate) const METHODS: &[Method] = &[
    one(Target::Features, "/feature.feature.v1.FeatureService/Create"),
    one(Target::Features, "/feature.feature.v1.FeatureService/Get"),
    one(Target::Features, "/feature.feature.v1.FeatureService/List"),
    one(Target::Features, "/feature.feature.v1.FeatureService/Cancel"),
    one(Target::Features, "/feature.feature.v1.FeatureService/Timeline"),
    Method { target: Target::Features, path: "/feature.feature.v1.FeatureService/Watch", streams: true },
    one(Target::Repositories, "/feature.repository.v1.RepositoryService/Register"),
    one(Target::Repositories, "/feature.repository.v1.RepositoryService/Resolve"),
    one(Target::Repositories, "/feature.repository.v1.RepositoryService/List"),
    one(Target::Repositories, "/feature.repository.v1.RepositoryService/RecordHead"),
    one(Target::Repositories, "/feature.repository.v1.RepositoryService/Remove"),
];

const fn one(target: Target, path: &'static str) -> Method {
    Method { target, path, streams: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the methods of a protobuf file, which has one a line.
    fn methods_of(text: &str) -> Vec<(String, bool)> {
        let word = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim_end_matches([';', ' ', '{']);
        let service = format!("/{}.{}/", word("package "), word("service "));
        let methods = text.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
        methods.map(|line| (format!("{service}{}", line.split('(').next().unwrap()), line.contains("returns (stream "))).collect()
    }

    #[test]
    fn the_methods_are_those_of_the_protobuf_files() {
        let files = [
            include_str!("../../feature-api/proto/feature/feature/v1/feature.proto"),
            include_str!("../../feature-api/proto/feature/repository/v1/repository.proto"),
        ];
        let expected: Vec<_> = files.into_iter().flat_map(methods_of).collect();
        let actual: Vec<_> = METHODS.iter().map(|method| (method.path.to_owned(), method.streams)).collect();
        assert_eq!(actual, expected);
    }
}
