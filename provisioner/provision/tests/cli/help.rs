use std::process::Command;

use crate::project::Project;

/// Returns every command as words, groups and the verbs in them.
fn commands(project: &Project, above: &[String]) -> Vec<Vec<String>> {
    let mut arguments: Vec<&str> = above.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = project.run(&arguments).expect(0).stdout;
    let section = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    let mut found = Vec::new();
    for name in names.filter(|name| *name != "help") {
        let command = [above, &[name.to_owned()]].concat();
        found.extend(commands(project, &command));
        found.push(command);
    }
    found
}

#[test]
fn every_verb_explains_itself_with_an_example() {
    let project = Project::new();
    let commands = commands(&project, &[]);
    for verb in ["env show", "plan", "up", "resume", "rollback", "down", "status", "drift", "history", "image push", "man"] {
        assert!(commands.iter().any(|command| command.join(" ") == verb), "{verb} is not in {commands:?}");
    }
    for command in commands {
        let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let help = project.run(&arguments).expect(0);
        let example = format!("provision {}", command.join(" "));
        let place = help.stdout.find("Example").unwrap_or_else(|| panic!("{example} has no example: {}", help.stdout));
        assert!(help.stdout[place..].contains(&example), "the example of {example} shows something else: {}", help.stdout);
    }
}

#[test]
fn completions_know_every_verb() {
    let project = Project::new();
    let commands = commands(&project, &[]);
    for shell in ["bash", "zsh", "fish"] {
        let script = project.run(&["completions", shell]).expect(0).stdout;
        for command in &commands {
            let word = command.last().unwrap();
            assert!(script.contains(word.as_str()), "{shell}: {word}");
        }
    }
}

#[test]
fn bash_completes_verbs_and_flags() {
    let project = Project::new();
    project.write("provision.bash", &project.run(&["completions", "bash"]).expect(0).stdout);
    for (words, expected) in [("provision roll", "rollback"), ("provision env sc", "schema"), ("provision rollback --t", "--to --timeout")]
    {
        let list: Vec<&str> = words.split(' ').collect();
        let (current, before) = (list[list.len() - 1], list[list.len() - 2]);
        let script = format!(
            "source provision.bash; COMP_WORDS=({words}); COMP_CWORD={}; _provision provision '{current}' '{before}'; echo ${{COMPREPLY[@]}}",
            list.len() - 1
        );
        let output = Command::new("bash").args(["-ec", &script]).current_dir(project.path("")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn there_is_a_manual_page_for_every_verb() {
    let project = Project::new();
    project.run(&["man", "--out", "pages"]).expect(0);
    for command in commands(&project, &[]) {
        let file = format!("pages/provision-{}.1", command.join("-"));
        let page = std::fs::read_to_string(project.path(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        for part in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS"] {
            assert!(page.contains(part), "{file} lacks {part}");
        }
    }
    let first = project.run(&["man"]).expect(0).stdout;
    assert!(first.contains(".TH provision 1"), "{first}");
}
