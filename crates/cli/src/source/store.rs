//! An object of an object store: Amazon's S3 and those that speak as it does, Google's, Azure's.
//!
//! Always: pure; the name has no key and no host: these are the user's settings, where the tools of the
//! store have them.

use std::fmt;
use std::fmt::Write as _;

/// Whose interface a store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Amazon's S3.
    S3,
    /// Google's Cloud Storage.
    Gs,
    /// Azure's Blob Storage.
    Az,
}

/// An object of an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    text: String,
    /// Whose interface it has.
    pub kind: StoreKind,
    /// The bucket; Azure calls it a container.
    pub bucket: String,
    /// The name of the object, as it stands in a URL.
    pub key: String,
}

impl Store {
    /// Reads `s3://BUCKET/KEY`, `gs://BUCKET/KEY` or `az://CONTAINER/BLOB`. All after the bucket is the
    /// key, which is not decoded: a store has names with any letters.
    pub fn parse(text: &str, scheme: &str, rest: &str) -> Option<Result<Self, String>> {
        let kind = match scheme {
            "s3" => StoreKind::S3,
            "gs" => StoreKind::Gs,
            "az" => StoreKind::Az,
            _ => return None,
        };
        Some(Self::of(text, kind, rest))
    }

    fn of(text: &str, kind: StoreKind, rest: &str) -> Result<Self, String> {
        let rest = rest.strip_prefix("//").ok_or("// does not follow the scheme")?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
        if bucket.is_empty() || !bucket.chars().all(plain) {
            return Err(format!("`{bucket}` is not the name of a bucket"));
        }
        if key.is_empty() {
            return Err("the name of the object is missing".into());
        }
        if key.split('/').any(|part| part == "." || part == "..") {
            return Err("the name of the object has `.` or `..` as a part".into());
        }
        let mut escaped = String::new();
        for byte in key.bytes() {
            match byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
                true => escaped.push(byte.into()),
                false => write!(escaped, "%{byte:02X}").expect("a string takes all"),
            }
        }
        Ok(Self { text: text.into(), kind, bucket: bucket.into(), key: escaped })
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    #[test]
    fn object_is_named_by_its_bucket_and_its_key() {
        for (text, kind, key) in [
            ("s3://b.c-d/a/b+c d.blob", StoreKind::S3, "a/b%2Bc%20d.blob"),
            ("gs://b.c-d/%41", StoreKind::Gs, "%2541"),
            ("az://b.c-d/\u{e9}?x#y", StoreKind::Az, "%C3%A9%3Fx%23y"),
        ] {
            let Source::Store(store) = text.parse().unwrap() else { panic!("{text}") };
            assert_eq!(
                (store.kind, store.bucket.as_str(), store.key.as_str()),
                (kind, "b.c-d", key)
            );
            assert_eq!(store.to_string(), text);
        }
    }

    #[test]
    fn wrong_part_of_a_name_is_named() {
        for (text, part) in [
            ("s3://b", "the name of the object is missing; expected s3://BUCKET/KEY"),
            ("s3:///k", "`` is not the name of a bucket"),
            ("s3://me:secret@b/k", "`me:secret@b` is not the name of a bucket"),
            ("gs://b/../k", "has `.` or `..` as a part"),
            ("az:b/k", "// does not follow the scheme"),
        ] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
