//! Finds a module of a network by the name that a LoRA has for it.

use std::collections::BTreeMap;

use super::Network;
use super::names::{Owner, Spelling, Target};
use crate::single_file::names::unet as of_original;
use crate::weights::{Module, Weights};

/// The networks of a model, and their modules.
pub(super) struct Networks(Vec<(Network, Index)>);

/// The modules of a network by both spellings of their paths.
///
/// CLIP's paths begin with `text_model.` in some files and not in others; here they never do.
struct Index {
    dotted: BTreeMap<String, Module>,
    /// Paths that differ in dots and underscores only would share a name: then it is ambiguous.
    underscored: BTreeMap<String, Vec<String>>,
    root: &'static str,
    /// The residual blocks of each down block of a UNet, by which the original names count.
    layers: usize,
}

impl Networks {
    /// Of the weights only the headers are read. Text encoders are in the order of the model.
    pub(super) fn new(unet: &Weights, text_encoders: &[Weights]) -> Self {
        let texts = [Network::TextEncoder, Network::TextEncoder2].into_iter().zip(text_encoders);
        let all = std::iter::once((Network::Unet, unet)).chain(texts);
        Self(all.map(|(network, weights)| (network, Index::new(network, weights))).collect())
    }

    /// The module that a name means and into which its update fits, or why there is none.
    ///
    /// `fits` says what is wrong with a module. It is asked of each that has the name where the name says no network:
    /// the two text encoders of SDXL have modules of the same names, and other widths.
    pub(super) fn find(
        &self,
        target: &Target,
        fits: impl Fn(&Module) -> Result<(), String>,
    ) -> Result<(Network, &Module), String> {
        let mut fitting = Vec::new();
        let mut misfit = None;
        let meant = |network: Network| match target.network {
            Owner::Network(wanted) => network == wanted,
            Owner::Unsaid => true,
            Owner::Other(_) => false,
        };
        for (network, index) in self.0.iter().filter(|(network, _)| meant(*network)) {
            let Some(module) = index.find(target) else { continue };
            match fits(module) {
                Ok(()) => fitting.push((*network, module)),
                Err(reason) => misfit = misfit.or(Some(reason)),
            }
        }
        match fitting.as_slice() {
            [found] => Ok(*found),
            [] => Err(misfit.unwrap_or_else(|| self.missing(target))),
            [_, ..] => Err("several networks of this model have such a module, and the name \
                            doesn't say which is meant"
                .to_owned()),
        }
    }

    /// Why there is no module of a name.
    fn missing(&self, target: &Target) -> String {
        match target.network {
            Owner::Other(name) => format!("this model has no {name}"),
            Owner::Unsaid => "this model has no such module".to_owned(),
            Owner::Network(wanted) => {
                let there = self.0.iter().any(|(network, _)| *network == wanted);
                if there {
                    format!("this model's {} has no such module", wanted.name())
                } else {
                    format!("this model has no {}", wanted.name())
                }
            }
        }
    }
}

impl Index {
    fn new(network: Network, weights: &Weights) -> Self {
        let root = match network {
            Network::Unet => "",
            Network::TextEncoder | Network::TextEncoder2 => "text_model",
        };
        let there = |layer: &usize| {
            weights.contains(&format!("down_blocks.0.resnets.{layer}.conv1.weight"))
        };
        let layers = (0..100).take_while(there).count();
        let mut index =
            Self { dotted: BTreeMap::new(), underscored: BTreeMap::new(), root, layers };
        for module in weights.modules() {
            let path = index.strip(&module.name, '.').to_owned();
            let underscored = index.underscored.entry(path.replace('.', "_")).or_default();
            underscored.push(path.clone());
            index.dotted.insert(path, module);
        }
        index
    }

    /// The path without the root that it may begin with.
    fn strip<'a>(&self, path: &'a str, separator: char) -> &'a str {
        match path.strip_prefix(self.root).and_then(|rest| rest.strip_prefix(separator)) {
            Some(rest) if !self.root.is_empty() => rest,
            _ => path,
        }
    }

    fn find(&self, target: &Target) -> Option<&Module> {
        let path = target.module.as_str();
        match target.spelling {
            Spelling::Dotted => {
                let path = self.strip(path, '.');
                self.dotted.get(path).or_else(|| self.dotted.get(&self.renamed(path)?))
            }
            Spelling::Underscored => {
                let path = self.strip(path, '_');
                self.underscored(path).or_else(|| {
                    // What is behind the numbers of the blocks stays as it is.
                    self.underscored(&self.renamed(&dots_around_numbers(path))?.replace('.', "_"))
                })
            }
        }
    }

    fn underscored(&self, name: &str) -> Option<&Module> {
        match self.underscored.get(name)?.as_slice() {
            [path] => self.dotted.get(path),
            _ => None,
        }
    }

    /// The path of a module of a UNet in diffusers, of that in the original code.
    fn renamed(&self, path: &str) -> Option<String> {
        let renamed = of_original(&format!("{path}."), self.layers)?;
        renamed.strip_suffix('.').map(str::to_owned)
    }
}

/// `input_blocks_4_1_proj_in` → `input_blocks.4.1.proj_in`: modules that are counted have dots around their numbers.
fn dots_around_numbers(name: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut path = String::with_capacity(name.len());
    let mut before = None;
    for part in name.split('_') {
        if let Some(before) = before {
            path.push(if is_number(before) || is_number(part) { '.' } else { '_' });
        }
        path.push_str(part);
        before = Some(part);
    }
    path
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use troupe_testkit::golden_path;

    use super::*;

    /// The UNet of the golden `single-file`, with two residual blocks in each down block.
    fn index() -> Index {
        let path = "single-file/sdxl/unet/diffusion_pytorch_model.fp16.safetensors";
        let bytes = std::fs::read(golden_path(path)).unwrap();
        Index::new(Network::Unet, &Weights::new(path, Arc::new(bytes)).unwrap())
    }

    /// Every module of the real networks by its four names, as far as the tiny one has it.
    #[test]
    fn a_module_is_found_by_each_of_its_names() {
        let index = index();
        assert_eq!(index.layers, 2);
        let pairs = std::fs::read_to_string(golden_path("single-file/sdxl.txt")).unwrap();
        let mut found = 0;
        for line in pairs.lines() {
            let ["unet", original, diffusers] = line.split(' ').collect::<Vec<_>>()[..] else {
                continue;
            };
            let Some((original, diffusers)) =
                original.strip_suffix(".weight").zip(diffusers.strip_suffix(".weight"))
            else {
                continue;
            };
            for path in [original, diffusers] {
                for spelling in [Spelling::Dotted, Spelling::Underscored] {
                    let module = match spelling {
                        Spelling::Dotted => path.to_owned(),
                        Spelling::Underscored => path.replace('.', "_"),
                    };
                    let network = Owner::Network(Network::Unet);
                    let module = index.find(&Target { network, spelling, module });
                    // The real one has more transformer blocks.
                    if index.dotted.contains_key(diffusers) {
                        assert_eq!(module.unwrap().name, diffusers, "{path}");
                        found += 1;
                    } else {
                        assert_eq!(module, None, "{path}");
                    }
                }
            }
        }
        assert_eq!(found, 4 * index.dotted.len());
    }

    #[test]
    fn names_that_lead_nowhere_are_found_nowhere() {
        let index = index();
        for name in
            ["", "input_blocks", "input_blocks_0", "output_blocks_99_1_proj_in", "out_3", "_"]
        {
            for spelling in [Spelling::Dotted, Spelling::Underscored] {
                let (network, module) = (Owner::Unsaid, name.to_owned());
                assert_eq!(index.find(&Target { network, spelling, module }), None, "{name}");
            }
        }
    }
}
