//! A snapshot of an image in a pool of Ceph.
//!
//! Source: block/rbd.c of QEMU 7.2. Options of librados reach it only by the name of the file,
//! in which a backslash stands before what would end a part.

use super::Drive;

/// A snapshot, or an image that may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rbd {
    pool: String,
    /// The image, after its namespace if it has one.
    image: String,
    snapshot: Option<String>,
    /// Options of librados, `id` and `conf`, as the user wrote them.
    options: Vec<String>,
}

impl Rbd {
    /// Reads `POOL/[NAMESPACE/]IMAGE[@SNAPSHOT][:KEY=VALUE...]`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("//") {
            return Err("no // follows rbd:".into());
        }
        if text.contains('\\') {
            return Err("names with a backslash are not supported".into());
        }
        let mut parts = text.split(':');
        let name = parts.next().ok_or("the image is missing")?;
        let options: Vec<String> = parts.map(str::to_string).collect();
        let is_option =
            |option: &&String| option.split_once('=').is_some_and(|(k, _)| !k.is_empty());
        if let Some(option) = options.iter().find(|option| !is_option(option)) {
            return Err(format!("`{option}` is not KEY=VALUE"));
        }
        if options.iter().any(|option| option.starts_with("key=")) {
            return Err("a key in a URL is seen by every user of this machine".into());
        }
        let (pool, image) = name.split_once('/').ok_or("the pool is missing")?;
        let (image, snapshot) = match image.split_once('@') {
            Some((_, "")) => return Err("the snapshot is missing".into()),
            Some((image, snapshot)) => (image, Some(snapshot.to_string())),
            None => (image, None),
        };
        if pool.is_empty() || image.split('/').any(str::is_empty) || image.split('/').count() > 2 {
            return Err("the pool or the image is missing".into());
        }
        Ok(Self { pool: pool.into(), image: image.into(), snapshot, options })
    }

    /// Whether the content cannot change.
    pub fn is_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// librados waits for ever unless told otherwise: for the monitors as for a storage daemon.
    pub fn drive(&self, wait_s: u32) -> Drive {
        let mut name = format!("rbd:{}/{}", self.pool, self.image);
        if let Some(snapshot) = &self.snapshot {
            name.push_str(&format!("@{snapshot}"));
        }
        for option in &self.options {
            name.push_str(&format!(":{option}"));
        }
        let times = ["rados_osd_op_timeout", "rados_mon_op_timeout", "client_mount_timeout"];
        let given = |key: &str| {
            let keys = self.options.iter().filter_map(|option| option.split('=').next());
            keys.into_iter().any(|other| other == key)
        };
        for key in times.into_iter().filter(|key| !given(key)) {
            name.push_str(&format!(":{key}={wait_s}"));
        }
        Drive { format: "raw", options: vec![("file", name.into())] }
    }
}
