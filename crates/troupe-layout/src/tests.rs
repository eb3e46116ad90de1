//! What layouts keep to (`promises`), that refusals are honest (`refusals`), and what layouts look like (`drawings`).

mod drawings;
mod promises;
mod refusals;

use troupe_core::axis::Scope;
use troupe_core::brief::{Brief, Kind};
use troupe_core::plan::{Assigned, AxisProof, Manner, Subject, ValueDefinition};
use troupe_core::seed::Seed;

use super::*;

/// The least that must be seen for a UNet with three levels of halving above 8-pixel latents.
const CELL: MinimumBox = MinimumBox { width: 32, height: 32 };

fn plan(statures: &[f64], formation: Formation, shot: Shot) -> ScenePlan {
    let people = u32::try_from(statures.len()).unwrap();
    let name = |index: usize| format!("v{index}");
    let values = statures.iter().enumerate().map(|(index, &stature)| ValueDefinition {
        name: name(index),
        phrase: String::new(),
        also: Vec::new(),
        stature: Some(stature),
    });
    let subjects = (0..statures.len()).map(|index| Subject {
        id: format!("s{}", index + 1),
        kind: 0,
        noun: "farmer".to_owned(),
        values: vec![Assigned { axis: "height".to_owned(), value: name(index), stated: false }],
        also: Vec::new(),
        loras: Vec::new(),
        paint: Manner::default(),
        sub_prompt: format!("a farmer with <hat & scarf> number {index}"),
        edited: false,
    });
    ScenePlan {
        schema: ScenePlan::SCHEMA.to_owned(),
        prompt: "farmers".to_owned(),
        loras: Vec::new(),
        picture: 1,
        run_seed: Seed(7),
        seed: Seed(8),
        edited: false,
        brief: Brief {
            people: vec![Kind {
                number: Some(people),
                noun: "farmer".to_owned(),
                stated: Vec::new(),
            }],
            activity: String::new(),
            clothing: String::new(),
            setting: "on a farm".to_owned(),
            style: String::new(),
            formation,
            shot,
        },
        base_prompt: "on a farm".to_owned(),
        subjects: subjects.collect(),
        axes: vec![AxisProof {
            axis: "height".to_owned(),
            applies_to: None,
            scope: Scope::Image,
            stream: "height".to_owned(),
            mixed: Vec::new(),
            values: values.collect(),
            cells: Vec::new(),
            marginal: Vec::new(),
        }],
        notes: Vec::new(),
    }
}

fn canvases(sizes: &[(u32, u32)]) -> Vec<Canvas> {
    sizes.iter().map(|&(width, height)| Canvas::new(width, height).unwrap()).collect()
}

fn options(formation: Formation, sizes: &[(u32, u32)], minimum: MinimumBox) -> Options {
    Options { formation, canvases: canvases(sizes), minimum, narrow: None }
}

fn starter(formation: Formation) -> Options {
    options(formation, &[(192, 192), (256, 192), (384, 192)], CELL)
}
