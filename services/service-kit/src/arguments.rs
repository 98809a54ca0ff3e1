//! Options of commands.

use std::collections::BTreeMap;

/// An option of a command; it has a value: `--name VALUE` or `--name=VALUE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandOption {
    /// Name, with its dashes.
    pub name: &'static str,
    /// What the value is, for the help.
    pub value: &'static str,
    /// What stands for an option that is not given; without it the option must be given.
    pub default: Option<&'static str>,
}

/// The options that a command was given, and the defaults of those that it was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments(BTreeMap<&'static str, String>);

impl Arguments {
    /// Returns the value of an option that the command declares; the empty text for any other.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// Reads the arguments that follow a command; says what is wrong with them.
pub(crate) fn read(options: &'static [CommandOption], arguments: &[String]) -> Result<Arguments, String> {
    let mut given = BTreeMap::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let (name, value) = argument.split_once('=').map_or((argument.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
        let option = options.iter().find(|option| option.name == name).ok_or_else(|| format!("unknown argument {argument:?}"))?;
        let value = value.or_else(|| arguments.next().cloned()).ok_or_else(|| format!("{name} needs a value: {}", option.value))?;
        if given.insert(option.name, value).is_some() {
            return Err(format!("{name} is given twice"));
        }
    }
    for option in options {
        match option.default {
            Some(default) => drop(given.entry(option.name).or_insert_with(|| default.to_owned())),
            None if !given.contains_key(option.name) => return Err(format!("{} {} is missing", option.name, option.value)),
            None => {}
        }
    }
    Ok(Arguments(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[CommandOption] = &[
        CommandOption { name: "--feature-id", value: "ID", default: None },
        CommandOption { name: "-o", value: "FORMAT", default: Some("text") },
    ];

    fn read_words(words: &str) -> Result<Arguments, String> {
        read(OPTIONS, &words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_have_values_in_either_form() {
        for (words, id, format) in [
            ("--feature-id 7", "7", "text"),
            ("--feature-id=7 -o json", "7", "json"),
            ("-o=json --feature-id=a=b", "a=b", "json"),
            ("--feature-id=", "", "text"),
        ] {
            let read = read_words(words).unwrap();
            assert_eq!((read.get("--feature-id"), read.get("-o")), (id, format), "{words}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (words, expected) in [
            ("", "--feature-id ID is missing"),
            ("--feature-id", "--feature-id needs a value: ID"),
            ("--feature-id 7 --x=1", "unknown argument \"--x=1\""),
            ("7", "unknown argument \"7\""),
            ("--feature-id 7 --feature-id 8", "--feature-id is given twice"),
        ] {
            assert_eq!(read_words(words).unwrap_err(), expected, "{words}");
        }
    }
}
