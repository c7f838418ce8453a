//! A Ceph cluster of one machine, in memory: a monitor, a manager, one store, and an S3 server.
//!
//! Always: its processes and its folder are gone when the [`Ceph`] is. It is up after some 20 s.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The id and the secret of the key of the S3 server.
pub const KEY: (&str, &str) = ("AKrootlet", "SKrootletSKrootlet");

const PROGRAMS: [&str; 7] =
    ["ceph-mon", "ceph-mgr", "ceph-osd", "radosgw", "radosgw-admin", "ceph-authtool", "rbd"];
const PATIENCE: Duration = Duration::from_secs(120);

/// A cluster.
pub struct Ceph {
    dir: PathBuf,
    daemons: Vec<Child>,
    /// The URL of the S3 server.
    pub endpoint: String,
}

impl Ceph {
    /// Starts a cluster in `dir`; `None`, after a word, if a program is missing.
    pub fn start(dir: PathBuf) -> Option<Self> {
        let is_missing = |program: &&&str| {
            let mut command = Command::new(program);
            command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
        };
        if let Some(program) = PROGRAMS.iter().find(is_missing) {
            println!("skipped: {program} is not installed");
            return None;
        }
        for part in ["mon", "mgr", "osd", "run", "rgw"] {
            fs::create_dir_all(dir.join(part)).unwrap();
        }
        let [mon, rgw] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [mon, rgw] = [mon, rgw].map(|socket| socket.local_addr().unwrap().port());
        let endpoint = format!("http://127.0.0.1:{rgw}");
        let mut ceph = Self { dir, daemons: Vec::new(), endpoint };
        ceph.settings(mon, rgw);
        ceph.monitor(mon);
        ceph.store();
        ceph.run("ceph", &["osd", "pool", "create", "rbd", "8"]);
        ceph.run("rbd", &["pool", "init", "rbd"]);
        ceph.daemon("radosgw", &["-n", "client.rgw.a"]);
        ceph.wait(|| std::net::TcpStream::connect(("127.0.0.1", rgw)).is_ok());
        let (id, secret) = (format!("--access-key={}", KEY.0), format!("--secret-key={}", KEY.1));
        ceph.run("radosgw-admin", &["user", "create", "--uid=u", "--display-name=u", &id, &secret]);
        Some(ceph)
    }

    fn settings(&self, mon: u16, rgw: u16) {
        let dir = self.dir.display();
        let text = format!(
            "[global]\nfsid = 11111111-2222-4333-8444-555555555555\nmon_initial_members = a\n\
             mon_host = v2:127.0.0.1:{mon}/0\nms_bind_msgr1 = false\n\
             public_network = 127.0.0.0/8\ncluster_network = 127.0.0.0/8\n\
             osd_pool_default_size = 1\nosd_pool_default_min_size = 1\n\
             osd_pool_default_pg_num = 8\nosd_crush_chooseleaf_type = 0\n\
             mon_allow_pool_size_one = true\nosd_objectstore = memstore\n\
             memstore_device_bytes = 268435456\nmon_data_avail_crit = 1\n\
             auth_allow_insecure_global_id_reclaim = true\nrun_dir = {dir}/run\n\
             log_file = {dir}/$name.log\nadmin_socket = {dir}/run/$name.asok\n\
             mon_data = {dir}/mon\nmgr_data = {dir}/mgr\nosd_data = {dir}/osd\n\
             rgw_data = {dir}/rgw\nkeyring = {dir}/keyring\nmgr_initial_modules =\n\
             rgw_frontends = beast endpoint=127.0.0.1:{rgw}\n"
        );
        fs::write(self.conf(), text).unwrap();
    }

    fn monitor(&mut self, port: u16) {
        let path = |name: &str| self.dir.join(name).display().to_string();
        let (keys, map, address) =
            (path("keyring"), path("map"), format!("[v2:127.0.0.1:{port}/0]"));
        let all = ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"];
        let first = ["--create-keyring", &keys, "--gen-key", "-n", "mon."];
        self.run("ceph-authtool", &[&first[..], &["--cap", "mon", "allow *"]].concat());
        for name in ["client.admin", "mgr.x", "osd.0", "client.rgw.a"] {
            self.run("ceph-authtool", &[&[&keys[..], "--gen-key", "-n", name], &all[..]].concat());
        }
        let fsid = "11111111-2222-4333-8444-555555555555";
        let words = ["--create", "--fsid", fsid, "--addv", "a", &address, &map];
        self.run("monmaptool", &words);
        self.run("ceph-mon", &["--mkfs", "-i", "a", "--monmap", &map, "--keyring", &keys]);
        self.daemon("ceph-mon", &["-i", "a"]);
        self.run("ceph", &["--connect-timeout", "60", "-s"]);
        self.daemon("ceph-mgr", &["-i", "x"]);
    }

    fn store(&mut self) {
        let id = "99999999-2222-4333-8444-555555555555";
        self.run("ceph", &["osd", "new", id]);
        self.run("ceph-osd", &["-i", "0", "--mkfs", "--osd-uuid", id]);
        self.daemon("ceph-osd", &["-i", "0"]);
        self.wait(|| self.run("ceph", &["osd", "stat"]).contains("1 up"));
    }

    /// The file of settings.
    pub fn conf(&self) -> PathBuf {
        self.dir.join("ceph.conf")
    }

    /// Runs a program to its end, and returns its output.
    pub fn run(&self, program: &str, words: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(words).env("CEPH_CONF", self.conf()).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {words:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Puts a file into the S3 server as `bucket/key`.
    pub fn put(&self, file: &Path, bucket: &str, key: &str) {
        let user = format!("{}:{}", KEY.0, KEY.1);
        let sign = ["-sS", "--fail", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &user];
        let sign = [&sign[..], &["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]].concat();
        let base = format!("{}/{bucket}", self.endpoint);
        self.run("curl", &[&sign[..], &["-X", "PUT", &base]].concat());
        let (file, url) = (file.display().to_string(), format!("{base}/{key}"));
        self.run("curl", &[&sign[..], &["-T", &file, &url]].concat());
    }

    fn daemon(&mut self, program: &str, words: &[&str]) {
        let mut command = Command::new(program);
        command.arg("-f").args(words).env("CEPH_CONF", self.conf()).stdin(Stdio::null());
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.daemons.push(process);
    }

    fn wait(&self, is: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is() {
            assert!(Instant::now() < until, "the cluster does not come up");
            thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Ceph {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}
