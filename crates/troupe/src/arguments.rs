//! The flags.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// One prompt for a group, one picture in which everyone is who the plan says they are.
#[derive(Debug, Parser)]
#[command(name = "troupe", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// The configuration; by default `pipeline.toml` where it is there
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The folder with the models' `manifest.toml`
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) models: Option<PathBuf>,
    /// Print results as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented pipeline.toml to start from
    Init {
        /// Where to
        #[arg(default_value = "pipeline.toml")]
        path: PathBuf,
    },
    /// Read a prompt, cast it, and write its plan
    Plan {
        /// What to paint; `-` reads it from standard input
        prompt: String,
        /// How many people, whatever the prompt says
        #[arg(long)]
        subjects: Option<u32>,
        /// The seed of the run
        #[arg(long)]
        seed: Option<u64>,
        /// A brief to cast, instead of asking the language model
        #[arg(long, value_name = "FILE")]
        brief: Option<PathBuf>,
        /// Where to
        #[arg(long, short, default_value = "plan.json")]
        output: PathBuf,
    },
    /// Give everybody in a plan a box
    Layout {
        /// The plan
        plan: PathBuf,
        /// Where to
        #[arg(long, short, default_value = "layout.json")]
        output: PathBuf,
        /// Draw the boxes, as .svg or .png
        #[arg(long, value_name = "FILE")]
        preview: Option<PathBuf>,
    },
    /// Paint a layout, a picture of ours again, a part of a picture anew, or a prompt as it is
    Paint(Box<PaintCommand>),
    /// Look at finished pictures: who is in each box, and is it who was planned?
    Audit {
        /// A picture, or a run folder: then what is found is written beside each picture, and the sums into the folder
        path: PathBuf,
        /// The layout that was painted, where the picture doesn't carry it
        #[arg(long, value_name = "FILE")]
        layout: Option<PathBuf>,
        /// Write what is found in a picture
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// The judge: a name in the manifest, or a folder
        #[arg(long, value_name = "J")]
        judge: Option<String>,
        /// Score with the second judge, at which nothing looks by which pictures are painted again
        #[arg(long)]
        second: bool,
    },
    /// All stages for one or more prompts
    Run {
        /// What to paint
        #[arg(required_unless_present = "prompts")]
        prompt: Vec<String>,
        /// A file with a prompt on each line
        #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
        prompts: Option<PathBuf>,
        #[command(flatten)]
        run: RunFlags,
    },
    /// All stages for many prompts; run again after an interruption, it does what is missing
    Batch {
        /// A file with a prompt on each line; lines that begin with # are left out
        file: PathBuf,
        /// How many pictures each prompt gets
        #[arg(long, default_value_t = 1)]
        pictures: u32,
        #[command(flatten)]
        run: RunFlags,
    },
    /// Print what a run, a plan, a layout, an audit or a picture says
    Inspect {
        /// A run folder, a JSON file of ours, or a picture of ours
        path: PathBuf,
    },
    /// The models that are known by name
    Models {
        #[command(subcommand)]
        command: ModelsCommand,
    },
    /// LoRA files
    Lora {
        #[command(subcommand)]
        command: LoraCommand,
    },
    /// The configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// The language model's process; started by this program itself
    #[command(hide = true)]
    LlmServe,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List them, and whether they are there
    Ls,
    /// Compare their files with their hashes
    Verify,
    /// Fetch a model from the hub into its cache, where it is found; no other command fetches anything
    Pull {
        /// hf:ORG/NAME, perhaps with @REVISION and :FILE, or a name whose path in the manifest is one
        model: String,
        /// Which copy of the weights, such as fp16; by default that in whole precision, if it is there
        #[arg(long)]
        variant: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LoraCommand {
    /// Print what a LoRA file holds
    Inspect {
        /// The file
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the configuration as it results from defaults, file and environment
    Show,
}

#[derive(Debug, Args)]
pub(crate) struct PaintCommand {
    /// layout.json, or a picture; one that wasn't painted by this program needs --mask and --prompt
    #[arg(required_unless_present = "prompt")]
    pub(crate) input: Option<PathBuf>,
    /// Paint this as it is: no brief, no regions; with a picture, where --mask is white
    #[arg(long)]
    pub(crate) prompt: Option<String>,
    /// Where to
    #[arg(long, short, default_value = "image.png")]
    pub(crate) output: PathBuf,
    /// Paint this person of a picture anew, such as s2; may be given several times
    #[arg(long, value_name = "SUBJECT", requires = "input", conflicts_with_all = ["prompt", "mask"])]
    pub(crate) only: Vec<String>,
    /// Give a person of a picture another value, such as `s2.age=older`, and paint this person anew; may be given several
    /// times
    #[arg(long, value_name = "SUBJECT.AXIS=VALUE", requires = "input", conflicts_with_all = ["prompt", "mask"])]
    pub(crate) set: Vec<String>,
    /// Paint a picture anew where this PNG of the same size is white
    #[arg(long, value_name = "FILE", requires = "input")]
    pub(crate) mask: Option<PathBuf>,
    /// How many pixels around what is painted anew lead over to what isn't, 0 to 256
    #[arg(long, value_name = "PIXELS", default_value_t = troupe_pipeline::paint::FEATHER)]
    pub(crate) feather: u32,
    /// With how much of the steps, and so of the noise, --only, --set or --mask paint anew: 1, unless it is said, forgets
    /// what was there
    #[arg(long, value_name = "PART", requires = "input")]
    pub(crate) strength: Option<f64>,
    /// The picture that INPUT is a repainting of
    #[arg(long, value_name = "FILE", requires = "input")]
    pub(crate) of: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) paint: PaintFlags,
    /// The size of a picture without a layout, such as 384x192
    #[arg(long, value_name = "WxH", requires = "prompt", conflicts_with = "input")]
    pub(crate) size: Option<String>,
    /// The seed of the noise; -1 chooses one and says which
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) seed: Option<i64>,
    /// Noise to begin with, as a safetensors file with `noise` and perhaps `step_noise`
    #[arg(long, value_name = "FILE")]
    pub(crate) noise: Option<PathBuf>,
    /// Keep the latents that enter each step of the whole picture
    #[arg(long, value_name = "DIR")]
    pub(crate) save_latents: Option<PathBuf>,
}

#[derive(Debug, Default, Args)]
pub(crate) struct PaintFlags {
    /// The painter: a name in the manifest, a diffusers folder, a checkpoint file or hf:ORG/NAME
    #[arg(long, value_name = "M")]
    pub(crate) model: Option<String>,
    /// Another autoencoder than the model's: a diffusers folder or a file
    #[arg(long, value_name = "V")]
    pub(crate) vae: Option<String>,
    /// A LoRA file, its scale (`0.8`, or with parts of the model `0.8,text=0,up_blocks.1=0.5`), and the one person who has it (`s2`); may be given several times, and replaces the configured ones
    #[arg(long = "lora", value_name = "FILE[:SCALE[:SUBJECT]]")]
    pub(crate) loras: Vec<String>,
    /// What the picture should not show
    #[arg(long, value_name = "P")]
    pub(crate) negative: Option<String>,
    /// In which precision large weights are kept in memory: `auto` (that of the model's files), `f32`, `f16` or `bf16`
    #[arg(long)]
    pub(crate) dtype: Option<String>,
    /// How many steps
    #[arg(long)]
    pub(crate) steps: Option<u32>,
    /// `ddim`, `ddpm`, `euler`, `euler_a`, `heun`, `dpm++2m`, `dpm++2m_sde`, `unipc` or `lcm`, in anybody's spelling,
    /// with or without a schedule behind it
    #[arg(long)]
    pub(crate) sampler: Option<String>,
    /// How the steps' noise levels are spaced, whatever the sampler's name says: `uniform` (as the
    /// model says), `normal`, `karras`, `exponential`, `sgm_uniform` or `simple`
    #[arg(long, value_name = "K")]
    pub(crate) schedule: Option<String>,
    /// How much new noise `ddim` adds, 0 to 1
    #[arg(long)]
    pub(crate) eta: Option<f64>,
    /// How timesteps are spaced: `model`, `leading`, `trailing` or `linspace`
    #[arg(long)]
    pub(crate) spacing: Option<String>,
    /// Whose noise a seed stands for: `troupe`, or `torch-cpu` as in diffusers
    #[arg(long)]
    pub(crate) rng: Option<String>,
    /// Classifier-free guidance; 1 is none
    #[arg(long)]
    pub(crate) guidance: Option<f64>,
    /// Against overexposure by strong guidance, 0 to 1
    #[arg(long)]
    pub(crate) guidance_rescale: Option<f64>,
    /// The base prompt's weight inside a box
    #[arg(long)]
    pub(crate) base_ratio: Option<f64>,
    /// The share of the steps in which people don't see one another
    #[arg(long)]
    pub(crate) isolate: Option<f64>,
    /// With how much of the steps small people are painted a second time; 0 is not at all
    #[arg(long, value_name = "PART")]
    pub(crate) second_pass: Option<f64>,
    /// Any other setting of `[paint.regions]`, such as `feather=0.1`
    #[arg(long = "region", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub(crate) region: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct RunFlags {
    /// The run folder
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// How many people, whatever the prompts say
    #[arg(long)]
    pub(crate) subjects: Option<u32>,
    /// The seed of the run
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// How often people are painted again whom the judge finds wrong, 0 to 10
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,
    #[command(flatten)]
    pub(crate) paint: PaintFlags,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("wanted KEY=VALUE, such as `feather=0.1`")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}
