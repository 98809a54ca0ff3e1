use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that is no DNS label: 1 to 63 of a-z, 0-9 and `-`, starting and ending with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidName(pub String);

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no valid name: use 1 to 63 of a-z, 0-9 and `-`, first and last a letter or digit", self.0)
    }
}

impl std::error::Error for InvalidName {}

fn checked(name: &str) -> Result<String, InvalidName> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inside = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if name.len() <= 63 && inside && edge(name.chars().next()) && edge(name.chars().next_back()) {
        Ok(name.to_owned())
    } else {
        Err(InvalidName(name.to_owned()))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, InvalidName> {
                checked(name).map(Self)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, InvalidName> {
                name.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of an environment: the stem of `environments/NAME.yaml`, a DNS label.
    EnvironmentName
}
name! {
    /// The name of a region overlay inside an environment, a DNS label.
    RegionName
}
name! {
    /// The name of a release in a cluster: the environment, with the region behind a dot-free `-` where there is one.
    ReleaseName
}

impl ReleaseName {
    /// Builds the release name of an environment and region: `dev`, or `prod-us-east`.
    ///
    /// # Errors
    /// [`InvalidName`] when both together are longer than a DNS label.
    pub fn of(environment: &EnvironmentName, region: Option<&RegionName>) -> Result<Self, InvalidName> {
        match region {
            Some(region) => format!("{environment}-{region}").parse(),
            None => environment.as_str().parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["dev", "us-east", "a", "0x"] {
            assert!(good.parse::<EnvironmentName>().is_ok(), "{good}");
        }
        for bad in ["", "Dev", "-a", "a-", "a.b", "a/b", "../x", &"a".repeat(64)] {
            assert!(bad.parse::<EnvironmentName>().is_err(), "{bad}");
        }
    }
}
