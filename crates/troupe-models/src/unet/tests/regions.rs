//! What regions promise, and their formula in PyTorch.

use super::*;

// Fails when a weight, the order of the regions, or who owns an overlap is wrong.
#[test]
fn regional_attention_is_its_formula_in_pytorch() {
    let it = Regional::read();
    let free = it.sample(&it.rows(), Some(&it.regions), Isolation::Free);
    assert_close("free", &values(&free), &it.golden.tensor("expected.free"), 1e-4);
}

// Fails when the mask spares a row, a level, or hides the background.
#[test]
fn isolation_is_its_formula_in_pytorch() {
    let it = Regional::read();
    let isolated = it.sample(&it.rows(), Some(&it.regions), ISOLATED);
    assert_close("isolated", &values(&isolated), &it.golden.tensor("expected.isolated"), 1e-4);
    // Otherwise the golden would say nothing.
    let free = it.golden.tensor("expected.free").0;
    assert!(1e-2 < relative_error(&values(&isolated), &free));
}

#[test]
fn isolation_holds_from_a_level_on() {
    let it = Regional::read();
    let sample = |isolation| bits(&it.sample(&it.rows(), Some(&it.regions), isolation));
    let from = |from_level: usize| sample(Isolation::Isolated { from_level });
    assert_eq!(from(9), sample(Isolation::Free));
    assert!(from(1) != from(0) && from(1) != from(9));
}

#[test]
fn weights_in_the_scores_are_their_formula_in_pytorch() {
    let it = Regional::read();
    let size = grid(&it.latents);
    let context = it.unet.prepare(&it.rows(), &[], Some(&it.regions), &[], size).unwrap();
    let maps = |grids: &[TokenGrid]| grids.iter().map(|&grid| it.regions.map(grid)).collect();
    let sample = |mixing: Mixing| {
        let context = context.with_maps(maps(context.levels()), mixing).unwrap();
        it.unet.forward(&it.latents, 421.0, &context, Isolation::Free).unwrap()
    };
    let scores = values(&sample(Mixing::Scores));
    assert_close("scores", &scores, &it.golden.tensor("expected.scores"), 1e-4);
    // Otherwise the golden would say nothing.
    let free = it.golden.tensor("expected.free").0;
    assert!(1e-2 < relative_error(&scores, &free), "{}", relative_error(&scores, &free));
    // The same maps again are what was prepared.
    let prepared = it.sample(&it.rows(), Some(&it.regions), Isolation::Free);
    assert_eq!(bits(&sample(Mixing::Outputs)), bits(&prepared));
}

#[test]
fn maps_of_other_levels_or_regions_are_refused() {
    let it = Regional::read();
    let size = grid(&it.latents);
    let context = it.unet.prepare(&it.rows(), &[], Some(&it.regions), &[], size).unwrap();
    let fewer = Regions::new(Vec::new(), 0.2);
    let levels = context.levels();
    for (regions, levels) in [(&fewer, levels), (&it.regions, &levels[1..])] {
        let maps = levels.iter().map(|&grid| regions.map(grid)).collect();
        assert!(context.with_maps(maps, Mixing::Outputs).is_err());
    }
    let error = context.with_maps(Vec::new(), Mixing::Outputs).unwrap_err().to_string();
    assert!(error.contains("other levels"), "{error}");
}

#[test]
fn region_maps_are_those_of_the_reference() {
    let it = Regional::read();
    for (height, width) in [(12, 20), (6, 10), (3, 5)] {
        let map = it.regions.map(TokenGrid { height, width });
        let key = |part: &str| format!("expected.map.{height}x{width}.{part}");
        assert_close("base", &map.base, &it.golden.tensor(&key("base")), 1e-6);
        assert_close("regions", &map.regions.concat(), &it.golden.tensor(&key("regions")), 1e-6);
        let owners = map.owner.iter().map(|owner| match owner {
            None => -1.0,
            Some(owner) => f32::from(u8::try_from(*owner).unwrap()),
        });
        assert_eq!(owners.collect::<Vec<_>>(), it.golden.tensor(&key("owner")).0);
    }
}

#[test]
fn no_regions_are_plain_attention_bit_for_bit() {
    let it = Regional::read();
    let [negative, base] = [0, 1].map(|row| it.contexts.get(row).unwrap());
    let plain = [negative, base].map(Conditioning::Plain);
    let expected = bits(&it.sample(&plain, None, Isolation::Free));
    let without = [0, 1].map(|row| Conditioning::Regional {
        base: it.contexts.get(row).unwrap(),
        regions: Vec::new(),
    });
    let none = Regions::new(Vec::new(), 0.2);
    for regions in [None, Some(&none)] {
        for isolation in [Isolation::Free, ISOLATED] {
            assert_eq!(bits(&it.sample(&plain, regions, isolation)), expected);
            assert_eq!(bits(&it.sample(&without, regions, isolation)), expected);
        }
    }
}

#[test]
fn one_region_over_everything_without_base_is_its_prompt_alone_bit_for_bit() {
    let it = Regional::read();
    let [negative, base] = [0, 1].map(|row| it.contexts.get(row).unwrap());
    let prompt = it.prompts[0].clone();
    let everything = BoundingBox::new(0.0, 0.0, 1.0, 1.0).unwrap();
    let regions = Regions::new(vec![Placed { bounds: everything, depth: 0 }], 0.0);
    let alone = [negative.clone(), prompt.clone()].map(Conditioning::Plain);
    let expected = bits(&it.sample(&alone, None, Isolation::Free));
    let regional =
        [Conditioning::Plain(negative), Conditioning::Regional { base, regions: vec![prompt] }];
    for isolation in [Isolation::Free, ISOLATED] {
        assert_eq!(bits(&it.sample(&regional, Some(&regions), isolation)), expected);
    }
}

#[test]
fn an_isolated_subject_does_not_hear_of_another_prompt() {
    // Two regions that share no token on any level, without base: in one transformer the left
    // subject's cross-attention can't depend on the right one's prompt.
    let it = Regional::read();
    let halves = [(0.0, 0.4), (0.6, 1.0)].map(|(left, right)| {
        let bounds = BoundingBox::new(left, 0.0, right, 1.0).unwrap();
        Placed { bounds, depth: 0 }
    });
    let regions = Regions::new(halves.to_vec(), 0.0);
    let first_down = |prompt: &Tensor| {
        let base = it.contexts.get(1).unwrap();
        let prompts = vec![it.prompts[0].clone(), prompt.clone()];
        let rows = [
            Conditioning::Plain(it.contexts.get(0).unwrap()),
            Conditioning::Regional { base, regions: prompts },
        ];
        let context = it.unet.prepare(&rows, &[], Some(&regions), &[], grid(&it.latents)).unwrap();
        let query = Tensor::ones((2, 240, 8), candle_core::DType::F32, &Device::Cpu).unwrap();
        context.attend(&query, 0, 0, 2).unwrap()
    };
    let [one, other] = [&it.prompts[1], &it.prompts[2]].map(first_down);
    let column = |x: &Tensor, column: usize| {
        let x = x.reshape((2, 12, 20, 8)).unwrap().narrow(2, column, 1).unwrap();
        bits(&x.contiguous().unwrap())
    };
    assert_eq!(column(&one, 3), column(&other, 3)); // In the left region.
    assert_eq!(column(&one, 10), column(&other, 10)); // In the background.
    assert_ne!(column(&one, 15), column(&other, 15)); // In the right region.
}
