//! The installable ZIP: what is in it, what the host makes of it, and that it can be reproduced.
//!
//! `build.sh test` names the release ZIP in `BACKUP_SYNC_ZIP`; without it a ZIP is made here from
//! the debug program by the same code.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use backup_sync_dropbox::findings::labels;
use sandbox::dropbox::{Dropbox, DropboxOptions};
use sandbox::host::manifest::repository_problems;
use sandbox::host::package::{Package, Packed, Program, read};
use sandbox::host::repository::{export, layout_problems};
use sandbox::host::{Launch, Manifest, PluginHost, find_php};
use sandbox::uisp::{Backup, Uisp, UispOptions};
use serde_json::{Value, json};

const ARCHITECTURE: &str = std::env::consts::ARCH;

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn package_with(program: PathBuf) -> Package {
    let built = Program::Built {
        architecture: ARCHITECTURE.to_owned(),
        how: "a debug program".to_owned(),
        path: program,
    };
    let skipped = Program::Skipped {
        architecture: "other".to_owned(),
        reason: "a test".to_owned(),
    };
    Package {
        checkout: checkout().to_owned(),
        commit: "0123456789abcdef".to_owned(),
        commit_time: 1_795_306_485,
        programs: vec![built, skipped],
    }
}

/// The ZIP under test.
fn zip() -> &'static Path {
    static ZIP: LazyLock<PathBuf> = LazyLock::new(|| {
        if let Some(path) = std::env::var_os("BACKUP_SYNC_ZIP") {
            return PathBuf::from(path);
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("backup-sync-dropbox.zip");
        package_with(env!("CARGO_BIN_EXE_backup-sync-dropbox").into())
            .write(&path)
            .unwrap();
        path
    });
    &ZIP
}

fn packed() -> Vec<Packed> {
    read(zip()).unwrap()
}

fn content(packed: &[Packed], name: &str) -> Vec<u8> {
    let entry = packed.iter().find(|entry| entry.name == name);
    entry
        .unwrap_or_else(|| unreachable!("{name} is not in the ZIP"))
        .content
        .clone()
}

fn manifest_bytes() -> Vec<u8> {
    fs::read(checkout().join("manifest.json")).unwrap()
}

/// What the host serves to anybody.
const PUBLIC: [&str; 4] = [
    "public/icon.svg",
    "public/page.js",
    "public/restore.html",
    "public/style.css",
];

#[test]
fn contains_what_the_host_needs_and_nothing_else() {
    let packed = packed();
    let names: Vec<&str> = packed.iter().map(|entry| entry.name.as_str()).collect();
    assert!(names.is_sorted(), "{names:?}");

    let program = format!("bin/{ARCHITECTURE}/backup-sync-dropbox");
    for needed in [
        "manifest.json",
        "main.php",
        "launcher.php",
        "public.php",
        "hook_configure.php",
        "LICENSE",
        "THIRD-PARTY.md",
        "BUILD-INFO",
        &program,
    ]
    .into_iter()
    .chain(PUBLIC)
    {
        assert!(
            names.contains(&needed),
            "{needed} is missing from {names:?}"
        );
    }
    let known = [
        "manifest.json",
        "main.php",
        "launcher.php",
        "public.php",
        "hook_configure.php",
        "README.md",
        "LICENSE",
        "THIRD-PARTY.md",
        "CHANGELOG.md",
        "BUILD-INFO",
        "bin/x86_64/backup-sync-dropbox",
        "bin/aarch64/backup-sync-dropbox",
    ];
    for name in names {
        // data/ belongs to the installation: nothing of ours is ever packed into it.
        assert!(
            known.contains(&name) || PUBLIC.contains(&name),
            "{name} should not be packed"
        );
    }
}

/// Only the release ZIP can keep the limits: debug programs are ten times as large.
#[test]
fn is_small() {
    const ZIP_BYTES_MAX: u64 = 4_500_000;
    const FILE_BYTES_MAX: usize = 4_300_000;
    let Some(zip) = std::env::var_os("BACKUP_SYNC_ZIP") else {
        println!("skipped: BACKUP_SYNC_ZIP names no release ZIP");
        return;
    };
    let entries = read(Path::new(&zip)).unwrap();
    assert!(fs::metadata(&zip).unwrap().len() <= ZIP_BYTES_MAX);
    for entry in entries {
        assert!(entry.content.len() <= FILE_BYTES_MAX, "{}", entry.name);
    }
}

#[test]
fn stores_fixed_modes_and_one_time() {
    let packed = packed();
    for entry in &packed {
        let mode = if entry.name.starts_with("bin/") {
            0o100_755
        } else {
            0o100_644
        };
        assert_eq!(entry.mode, Some(mode), "{}", entry.name);
        assert_eq!(entry.modified, packed[0].modified, "{}", entry.name);
    }
}

#[test]
fn packs_the_files_of_the_checkout_unchanged() {
    let packed = packed();
    for name in [
        "manifest.json",
        "main.php",
        "launcher.php",
        "public.php",
        "hook_configure.php",
        "LICENSE",
        "THIRD-PARTY.md",
    ] {
        assert_eq!(
            content(&packed, name),
            fs::read(checkout().join(name)).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn build_info_tells_what_was_built_and_what_was_not() {
    let text = String::from_utf8(content(&packed(), "BUILD-INFO")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        format!("backup-sync-dropbox {}", env!("CARGO_PKG_VERSION"))
    );
    assert!(lines[1].starts_with("commit: "), "{text}");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with(&format!("{ARCHITECTURE}: built, "))),
        "{text}"
    );
    for line in &lines[2..] {
        assert!(
            line.contains(": built, ") || line.contains(": skipped, "),
            "{line}"
        );
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes_in_any_folder() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for name in [
        "manifest.json",
        "main.php",
        "launcher.php",
        "public.php",
        "hook_configure.php",
        "README.md",
        "LICENSE",
        "THIRD-PARTY.md",
        "CHANGELOG.md",
    ] {
        if checkout().join(name).exists() {
            fs::copy(checkout().join(name), elsewhere.join(name)).unwrap();
            // Neither the mode nor the time of the files may reach the archive.
            fs::set_permissions(elsewhere.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    fs::create_dir(elsewhere.join("public")).unwrap();
    for file in fs::read_dir(checkout().join("public")).unwrap() {
        let file = file.unwrap();
        let copy = elsewhere.join("public").join(file.file_name());
        fs::copy(file.path(), &copy).unwrap();
        fs::set_permissions(copy, fs::Permissions::from_mode(0o600)).unwrap();
    }

    let [here, there] = ["here.zip", "there.zip"].map(|name| folder.path().join(name));
    // Any file will do for the program; the real one takes long to compress.
    let package = package_with(checkout().join("LICENSE"));
    package.write(&here).unwrap();
    Package {
        checkout: elsewhere,
        ..package
    }
    .write(&there)
    .unwrap();
    assert!(fs::read(here).unwrap() == fs::read(there).unwrap());
}

#[test]
fn the_manifest_passes_the_checks_of_host_and_repository() {
    let manifest = Manifest::parse(&manifest_bytes()).unwrap();
    assert_eq!(repository_problems(&manifest_bytes()), Vec::<String>::new());
    assert_eq!(manifest.name, env!("CARGO_PKG_NAME"));
    assert_eq!(manifest.version, env!("CARGO_PKG_VERSION"));
    for version in ["2.1.0", "2.4.206", "3.0.159"] {
        assert!(manifest.complies_with(version), "{version}");
    }
    assert!(!manifest.complies_with("2.0.9"));
}

/// The page opens inside UISP under System; the frame on the dashboard asks for the short form.
#[test]
fn the_page_has_its_place_in_the_menu_and_on_the_dashboard() {
    let manifest: Value = serde_json::from_slice(&manifest_bytes()).unwrap();
    let menu = &manifest["menu"][0];
    assert_eq!(menu["type"], "admin");
    assert_eq!(
        (&menu["key"], &menu["target"]),
        (&json!("System"), &json!("iframe"))
    );
    let widget = &manifest["widgets"][0];
    assert_eq!(widget["position"], "dashboard");
    assert!(widget["iframeHeight"].as_u64().unwrap() >= 200);
    assert_eq!(widget["iframeUrlParameters"], json!({"widget": "1"}));
}

#[test]
fn the_export_passes_the_checks_of_the_public_repository() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = export(zip(), folder.path()).unwrap();
    assert_eq!(layout_problems(&plugin), Vec::<String>::new());
    assert!(plugin.ends_with("backup-sync-dropbox"));
    let program = format!("src/bin/{ARCHITECTURE}/backup-sync-dropbox");
    let mode = fs::metadata(plugin.join(program))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o755);
}

/// The checks themselves: each rule that is broken is noticed.
#[test]
fn the_checks_of_the_public_repository_notice_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let zip = folder.path().join("backup-sync-dropbox.zip");
    // Any file will do for the program here.
    package_with(checkout().join("LICENSE"))
        .write(&zip)
        .unwrap();
    type Breakage = (&'static str, fn(&Path));
    let breakages: [Breakage; 8] = [
        ("README.md is missing", |plugin| {
            fs::remove_file(plugin.join("README.md")).unwrap();
        }),
        ("src/main.php is missing", |plugin| {
            fs::remove_file(plugin.join("src/main.php")).unwrap();
        }),
        ("composer.lock is missing", |plugin| {
            fs::write(plugin.join("src/composer.json"), "{}").unwrap();
        }),
        ("php -l refuses", |plugin| {
            fs::write(plugin.join("src/main.php"), "<?php if (").unwrap();
        }),
        ("the ZIP's manifest is not that of src/", |plugin| {
            let manifest = plugin.join("src/manifest.json");
            let text = fs::read_to_string(&manifest).unwrap();
            fs::write(manifest, text.replace("2.0.0", "2.0.1")).unwrap();
        }),
        ("not the plugin's address", |plugin| {
            let manifest = plugin.join("src/manifest.json");
            let text = fs::read_to_string(&manifest).unwrap();
            fs::write(manifest, text.replace("/master/", "/main/")).unwrap();
        }),
        ("the ZIP holds more or less", |plugin| {
            fs::write(plugin.join("src/new.txt"), "new").unwrap();
        }),
        ("cannot be read", |plugin| {
            fs::remove_file(plugin.join("backup-sync-dropbox.zip")).unwrap();
        }),
    ];
    for (number, (expected, breaks)) in breakages.into_iter().enumerate() {
        let plugins = folder.path().join(number.to_string());
        let plugin = export(&zip, &plugins).unwrap();
        breaks(&plugin);
        let problems = layout_problems(&plugin);
        assert!(
            problems.iter().any(|problem| problem.contains(expected)),
            "{expected}: {problems:?}"
        );
    }
    let plugin = export(&zip, &folder.path().join("renamed")).unwrap();
    let renamed = plugin.with_file_name("another");
    fs::rename(&plugin, &renamed).unwrap();
    let problems = layout_problems(&renamed);
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("not named as")),
        "{problems:?}"
    );
}

#[test]
fn the_form_keeps_the_keys_of_1_2_2_and_requires_nothing_new() {
    let manifest = Manifest::parse(&manifest_bytes()).unwrap();
    let keys: Vec<&str> = manifest
        .fields
        .iter()
        .map(|field| field.key.as_str())
        .collect();
    assert_eq!(
        keys[..6],
        [
            "unmsApiToken",
            "dropboxAppKey",
            "dropboxAppSecret",
            "dropboxAccessCode",
            "dropboxRefreshToken",
            "dropboxAccessToken"
        ]
    );
    for field in &manifest.fields {
        // A new required key would disable the plugin on update.
        assert_eq!(
            field.is_required,
            field.key == "unmsApiToken",
            "{}",
            field.key
        );
        assert_eq!(
            field.is_checkbox,
            ["createBackup", "confirmCleanup"].contains(&field.key.as_str()),
            "{}",
            field.key
        );
        assert!(
            field.description.ends_with('.'),
            "{} needs a description",
            field.key
        );
    }
}

/// The log tells the admin which field to fill by its label, so the two must be the same words.
#[test]
fn the_form_has_the_labels_that_the_log_speaks_of() {
    let manifest = Manifest::parse(&manifest_bytes()).unwrap();
    for (key, label) in [
        ("unmsApiToken", labels::FIELD_UISP_TOKEN),
        ("dropboxAppKey", labels::FIELD_APP_KEY),
        ("dropboxAppSecret", labels::FIELD_APP_SECRET),
        ("dropboxAccessCode", labels::FIELD_ACCESS_CODE),
        ("dropboxRefreshToken", labels::FIELD_REFRESH_TOKEN),
        ("dropboxAccessToken", labels::FIELD_LEGACY_TOKEN),
        ("createBackup", labels::FIELD_CREATE_BACKUP),
        ("healthcheckUrl", labels::FIELD_HEALTHCHECK),
        // Named in the warning about files on hold.
        ("confirmCleanup", "Confirm clean-up"),
    ] {
        let field = manifest
            .fields
            .iter()
            .find(|field| field.key == key)
            .unwrap();
        assert_eq!(field.label, label);
    }
}

#[test]
fn takes_over_from_1_2_2_in_place() {
    let php = find_php().expect("this test needs php: ./build.sh test installs it");
    let dropbox = Dropbox::start(DropboxOptions::default()).unwrap();
    let uisp = Uisp::start(UispOptions::default()).unwrap();
    let [good, damaged] = [1, 2].map(|number| Backup::numbered(number, 100_000));
    for backup in [&good, &damaged] {
        uisp.add(backup.clone());
    }
    // The names that 1.2.2 gave them, 04:12 UTC being 00:12 in Caracas; it never checked what it sent.
    let path_of =
        |backup: &Backup, day| format!("/unms-backup-202601{day}-0012_{}.unms", backup.id);
    let good_path = path_of(&good, "02");
    let damaged_path = path_of(&damaged, "03");
    let old_rev = dropbox.put(&good_path, &good.bytes()).rev;
    dropbox.put(&damaged_path, &damaged.bytes()[..99_000]);

    // Its folder: six keys, written compact, and a manifest of its own.
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("backup-sync-dropbox");
    fs::create_dir_all(root.join("data")).unwrap();
    let refresh_token = dropbox.issue_refresh_token();
    let config = json!({
        "unmsApiToken": uisp.token(),
        "dropboxAppKey": dropbox.app().key,
        "dropboxAppSecret": dropbox.app().secret,
        "dropboxAccessCode": null,
        "dropboxRefreshToken": refresh_token,
        "dropboxAccessToken": null,
    });
    fs::write(root.join("data/config.json"), config.to_string()).unwrap();
    let mut manifest: Value = serde_json::from_slice(&manifest_bytes()).unwrap();
    manifest["information"]["version"] = "1.2.2".into();
    fs::write(root.join("manifest.json"), manifest.to_string()).unwrap();

    let host = PluginHost::new(folder.path(), &uisp.local_url())
        .with_launch(Launch::Php(php))
        .with_env("DROPBOX_API_URL", &dropbox.api_url())
        .with_env("DROPBOX_CONTENT_URL", &dropbox.content_url())
        .with_env("DROPBOX_WEB_URL", &dropbox.web_url());
    let mut plugin = host.open("backup-sync-dropbox").unwrap();
    plugin.update(zip()).unwrap();
    assert!(plugin.is_enabled());
    let program = root.join(format!("bin/{ARCHITECTURE}/backup-sync-dropbox"));
    let is_executable = || program.metadata().unwrap().permissions().mode() & 0o111 != 0;
    assert!(!is_executable(), "the host's unpacking loses the bit");

    let outcome = plugin.execute().unwrap();
    assert_eq!(outcome.exit_code, Some(0), "{outcome:?}\n{}", plugin.log());
    assert!(is_executable());
    assert_eq!(
        plugin.config().unwrap()["dropboxRefreshToken"],
        refresh_token
    );
    assert_eq!(
        dropbox.file(&good_path).unwrap().rev,
        old_rev,
        "uploaded again"
    );
    assert_eq!(dropbox.read(&damaged_path).unwrap(), damaged.bytes());
    // Nobody knows whether what stood there was worth something.
    let mut others = dropbox.paths();
    others.retain(|path| *path != good_path && *path != damaged_path);
    assert!(
        others.len() == 1 && others[0].contains("(set aside "),
        "{others:?}"
    );
}
