//! A UNet built anew under other LoRAs: which layers are made again, and that the numbers are those of one loaded so.

use std::collections::BTreeMap;

use super::bound::{files, lora};
use super::*;
use crate::lora::AdapterSet;

/// What the UNet of these weights says, to the bit.
fn sample(weights: &Weights) -> Vec<u32> {
    let it = Regional::read();
    let unet = UNet::new(files().0, weights).unwrap();
    let plain = [0, 1].map(|row| Conditioning::Plain(it.contexts.get(row).unwrap()));
    let context = unet.prepare(&plain, &[], None, &[], grid(&it.latents)).unwrap();
    bits(&unet.forward(&it.latents, 421.0, &context, Isolation::Free).unwrap())
}

/// Of each layer, whether it lies where it lay.
fn kept(before: &BTreeMap<String, usize>, after: &Weights) -> BTreeMap<String, bool> {
    let after = after.places_of_made();
    assert_eq!(before.len(), after.len());
    after.into_iter().map(|(path, place)| (path.clone(), before[&path] == place)).collect()
}

#[test]
fn taken_out_again_loras_leave_no_trace_and_only_what_they_change_is_made_again() {
    let (_, plain, _) = files();
    let [one, other] = [0, 1].map(|number| lora(number, &plain));
    let [at_first, with_one, with_other] =
        [None, Some(&one), Some(&other)].map(|lora| match lora {
            None => sample(&plain),
            Some(lora) => sample(&plain.clone().with_adapters(lora.clone())),
        });
    assert!(at_first != with_one && with_one != with_other);

    let mut weights = plain.clone().remembering();
    assert!(sample(&weights) == at_first);
    for (adapters, expected) in
        [(one, &with_one), (other, &with_other), (AdapterSet::default(), &at_first)]
    {
        // Both hold their layers while they live, so a new one can't lie where an old one lay.
        let before = weights.clone();
        let differing = before.adapters().differing(&adapters);
        weights = weights.with_adapters(adapters);
        assert!(sample(&weights) == *expected);
        let kept = kept(&before.places_of_made(), &weights);
        for (path, kept) in &kept {
            let differs = differing.iter().any(|weight| weight.starts_with(path.as_str()));
            assert_eq!(*kept, !differs, "{path}");
        }
        assert!(kept.values().any(|kept| *kept) && kept.values().any(|kept| !kept));
    }
    let same = weights.clone().with_adapters(AdapterSet::default());
    assert!(sample(&same) == at_first);
    assert!(kept(&weights.places_of_made(), &same).values().all(|kept| *kept));
}

#[test]
fn weights_that_do_not_remember_are_read_each_time() {
    let (_, plain, _) = files();
    let changed = plain.clone().with_adapters(lora(0, &plain));
    assert!(sample(&plain) != sample(&changed) && sample(&plain) == sample(&plain));
    // What is remembered of one set of LoRAs is not for another, in whichever order that is said.
    let weights = plain.clone().remembering();
    assert!(sample(&weights) == sample(&plain));
    assert!(sample(&weights.with_more(lora(0, &plain))) == sample(&changed));
}
