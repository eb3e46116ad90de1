//! Words that are plurals or possessives, and what of.

use crate::words::IRREGULAR;

/// What a word may be the plural or the possessive of; the word itself unless it can only be a plural.
pub(super) fn singulars(word: &str) -> Vec<String> {
    let lower = word.to_lowercase();
    let upper = word.chars().all(|it| !it.is_lowercase());
    let cut = |ending: &str, instead: &str| {
        let stem: String = word.chars().take(word.chars().count() - ending.len()).collect();
        if upper { stem + &instead.to_uppercase() } else { stem + instead }
    };
    let owner = lower.strip_suffix("'s").or_else(|| lower.strip_suffix("’s"));
    if let Some(owner) = owner {
        return singulars(owner);
    }
    if let Some((many, one)) = IRREGULAR.iter().find(|it| lower.ends_with(it.0)) {
        return vec![cut(many, one)];
    }
    if lower == "men" || lower == "women" {
        return vec![cut("men", "man")];
    }
    let ends = |ending: &str| lower.len() > ending.len() && lower.ends_with(ending);
    if ends("men") {
        return vec![cut("men", "man"), word.to_owned()];
    }
    if ends("ies") {
        return vec![cut("ies", "y"), cut("s", "")];
    }
    if ends("ves") {
        return vec![cut("s", ""), cut("ves", "f"), cut("ves", "fe")];
    }
    if ["sses", "shes", "ches", "xes", "zzes"].iter().any(|it| ends(it)) {
        return vec![cut("es", "")];
    }
    if ends("oes") || ends("uses") || ends("ises") || ends("ases") {
        return vec![cut("es", ""), cut("s", "")];
    }
    if ends("s") && !ends("ss") && !ends("us") && !ends("is") {
        return vec![cut("s", "")];
    }
    let mut found = vec![word.to_owned()];
    if ends("us") || ends("is") {
        found.push(cut("s", ""));
    }
    if ends("i") {
        found.push(cut("i", "us"));
    }
    if ends("ae") {
        found.push(cut("e", ""));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_lead_to_singulars() {
        let first = |word| singulars(word).remove(0);
        for (many, one) in [
            ("nurses", "nurse"),
            ("waitresses", "waitress"),
            ("waitress", "waitress"),
            ("coaches", "coach"),
            ("ladies", "lady"),
            ("women's", "woman"),
            ("firemen", "fireman"),
            ("children", "child"),
            ("grandchildren", "grandchild"),
            ("salespeople", "salesperson"),
            ("midwives", "midwife"),
            ("GIRLS", "GIRL"),
            ("samurai", "samurai"),
            ("walrus", "walrus"),
            ("natives", "native"),
        ] {
            assert_eq!(first(many), one);
        }
        assert!(singulars("wolves").contains(&"wolf".to_owned()));
        assert!(singulars("heroes").contains(&"hero".to_owned()));
    }
}
