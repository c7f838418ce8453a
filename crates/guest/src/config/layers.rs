//! The settings of a stack of images: `layer=`, and those that begin with the number of an image.
//!
//! Always: a line names an image alone, or a stack; what is said of an image of a stack has its
//! number, from 1 for the bottom.

use super::error::{ConfigError, Fault};
use super::{Config, Part, parted, slot_number, with_part};
use rootlet_trust::{Spec, Subject};

const WANT: Fault =
    Fault::Value("layerN.blobM= or layerN.verityM= with an image N and a device slot M, from 1 on");

/// Returns whether a setting belongs to an image of a stack.
pub(super) fn is_key(key: &str) -> bool {
    let number = key.strip_prefix("layer").and_then(|rest| rest.chars().next());
    number.is_some_and(|first| first.is_ascii_digit())
}

/// Takes the next image.
pub(super) fn image(config: &mut Config, value: &str) -> Result<(), Fault> {
    let layer = with_part(config, value, Part::split_several)?;
    config.layers.push(layer);
    Ok(())
}

/// Takes a setting of an image of the stack.
pub(super) fn setting(config: &mut Config, key: &str, value: &str) -> Result<(), Fault> {
    let (layer, what) =
        key.strip_prefix("layer").and_then(|rest| rest.split_once('.')).ok_or(WANT)?;
    let number = |digits: &str| slot_number(digits).map_err(|_| WANT);
    let layer = number(layer)?;
    if let Some(slot) = what.strip_prefix("blob") {
        let slot = number(slot)?;
        if config.blob(layer, slot).is_some() {
            return Err(Fault::Duplicate);
        }
        let source = parted(config, (layer, slot), value)?;
        config.layer_blobs.push((layer, slot, source));
        return Ok(());
    }
    let slot = number(what.strip_prefix("verity").ok_or(WANT)?)?;
    if config.layer_verity.iter().any(|(of, number, _)| (*of, *number) == (layer, slot)) {
        return Err(Fault::Duplicate);
    }
    let fault = |error| Fault::Verity(Subject::of_layer(layer, slot), error);
    Spec::parse(value).map_err(fault)?;
    config.layer_verity.push((layer, slot, value.into()));
    Ok(())
}

/// Checks that a line names an image alone or a stack, and says nothing of the other.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let refused = |why| Err(ConfigError::Together(why));
    let is_matching = |(_, _, part): &(u16, u16, Part)| matches!(part, Part::Matching(_));
    if config.parts.iter().any(is_matching) {
        return refused("several partitions (@START*) are those of layer= alone");
    }
    if config.layers.is_empty() {
        return match config.layer_blobs.is_empty() && config.layer_verity.is_empty() {
            true => Ok(()),
            false => refused("layerN.blobM= and layerN.verityM= need layer="),
        };
    }
    if config.image.is_some() {
        return refused("image= is an image alone, and layer= one of a stack: give one of them");
    }
    if !config.blobs.is_empty() {
        return refused("blobN= is a blob of image=; those of a stack are layerN.blobM=");
    }
    Ok(())
}
