//! What holds for every set of objects.

use proptest::prelude::*;
use provision_model::Severity;

use crate::text::id;
use crate::world::{World, check_order};

/// One of ten ConfigMaps or Deployments in one of two namespaces; later ones may depend on earlier ones.
fn set() -> impl Strategy<Value = String> {
    let object = (0..10_usize, 0..2_usize, 0..3, proptest::option::of(0..10_usize), any::<bool>());
    proptest::collection::vec(object, 1..12).prop_map(|objects| {
        let mut lines: Vec<String> = vec!["ns a".into(), "ns b".into()];
        let mut seen = Vec::new();
        for (number, namespace, value, on, workload) in objects {
            let namespace = ["a", "b"][namespace];
            let name = format!("{namespace}/o{number}");
            if seen.iter().any(|(other, _)| *other == name) {
                continue;
            }
            let on = on.and_then(|on| seen.get(on)).map(|(name, word): &(String, &str)| format!(" after={word}:{name}"));
            let (word, setting) = if workload { ("deploy", format!("image=v{value}")) } else { ("cm", format!("data.x={value}")) };
            lines.push(format!("{word} {name} {setting}{}", on.unwrap_or_default()));
            seen.push((name, word));
        }
        lines.reverse();
        lines.join("\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn after_an_apply_nothing_is_left_to_do_and_nothing_is_orphaned(sets in proptest::collection::vec(set(), 1..4)) {
        let mut world = World::new();
        world.options.allow_deletes = Some(100);
        for text in &sets {
            let plan = world.plan(text);
            prop_assert!(plan.findings.iter().all(|finding| finding.severity < Severity::Fatal), "{:?}", plan.findings);
            world.apply(&plan);
            prop_assert_eq!(world.questions(text), 0);
            let again = world.plan(text);
            prop_assert!(again.is_empty(), "{:?}", again.changes);
            let live: Vec<_> = world.observed.live.keys().collect();
            let recorded: Vec<_> = world.observed.recorded.keys().collect();
            prop_assert_eq!(live, recorded);
            prop_assert!(provision_plan::drift(&world.observed).is_empty());
        }
    }

    #[test]
    fn a_lost_record_is_never_deleted_and_comes_back(text in set(), lost in 0..12_usize) {
        let mut world = World::with(&text);
        let key = world.observed.recorded.keys().nth(lost).cloned();
        if let Some(key) = key { world.observed.recorded.remove(&key); }
        let plan = world.plan(&text);
        check_order(&plan);
        world.apply(&plan);
        prop_assert!(world.plan(&text).is_empty());
    }

    #[test]
    fn an_edit_of_any_writer_is_found_and_undone(text in set(), place in 0..12_usize, value in 10..20) {
        let mut world = World::with(&text);
        let ids: Vec<String> = world.observed.recorded.keys()
            .filter(|found| found.kind.kind == "ConfigMap")
            .map(|found| format!("cm:{}/{}", found.namespace.as_deref().unwrap(), found.name))
            .collect();
        prop_assume!(!ids.is_empty());
        let edited = &ids[place % ids.len()];
        world.edit(edited, ("someone", ""), "/data/x", serde_json::json!(value));
        let found = provision_plan::drift(&world.observed);
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(&found[0].id, &id(edited));
        let plan = world.plan(&text);
        prop_assert_eq!(plan.changes.iter().filter(|change| change.action.writes()).count(), 1);
        world.apply(&plan);
        prop_assert!(provision_plan::drift(&world.observed).is_empty());
    }

    #[test]
    fn equal_inputs_give_equal_plans(text in set()) {
        prop_assert_eq!(World::new().plan(&text), World::new().plan(&text));
    }
}
