//! Completions for three shells. Each offers commands, options and, where a value or an operand is one, files.

use backup_sync_dropbox::{cli, commands};

use super::help::{self, Choice};

/// The names of the files, as the shells look for them.
pub const BASH_FILE: &str = "backup-sync-dropbox.bash";
pub const ZSH_FILE: &str = "_backup-sync-dropbox";
pub const FISH_FILE: &str = "backup-sync-dropbox.fish";

/// Whether a value is a folder, going by the word for it.
fn is_folder(value: &str) -> bool {
    value == "DIR"
}

fn names() -> String {
    commands::ALL.map(|command| command.name).join(" ")
}

/// The options as they are typed.
fn typed(options: &[Choice]) -> String {
    let typed: Vec<String> = options
        .iter()
        .map(|one| format!("--{}", one.name))
        .collect();
    typed.join(" ")
}

/// For bash; without the package bash-completion.
pub fn bash() -> String {
    let mut of_commands = String::new();
    let mut with_value = vec![];
    for command in commands::ALL {
        let options = help::options(command.help);
        let files = u8::from(help::takes_file(command));
        of_commands += &format!(
            "        {}) words='{}' files={files} ;;\n",
            command.name,
            typed(&options)
        );
        with_value.extend(options.into_iter().filter(|one| one.value.is_some()));
    }
    let patterns = |of_folders: bool| {
        let is_wanted = |one: &&Choice| one.value.as_deref().is_some_and(is_folder) == of_folders;
        let mut names: Vec<String> = with_value
            .iter()
            .filter(is_wanted)
            .map(|one| format!("--{}", one.name))
            .collect();
        names.sort();
        names.dedup();
        names.join(" | ")
    };
    format!(
        r#"# Completions of backup-sync-dropbox for bash.
_backup_sync_dropbox() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}
    local command='' words files=0 i
    COMPREPLY=()
    case $previous in
        {folders})
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -d -- "$current")
            return
            ;;
        {others}) return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            {folders} | {others}) ((i++)) ;;
            -*) ;;
            *)
                command=${{COMP_WORDS[i]}}
                break
                ;;
        esac
    done
    case $command in
        '') words='{names} {global}' ;;
{of_commands}        *) return ;;
    esac
    if [[ $files = 1 && $current != -* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -F _backup_sync_dropbox backup-sync-dropbox
"#,
        folders = patterns(true),
        others = patterns(false),
        names = names(),
        global = typed(&help::options(cli::HELP)),
    )
}

/// For zsh.
pub fn zsh() -> String {
    let described: String = commands::ALL
        .iter()
        .map(|command| {
            let summary = help::summary_of(command, cli::HELP);
            format!(
                "                {}\n",
                zsh_quoted(&format!("{}:{summary}", command.name))
            )
        })
        .collect();
    let mut of_commands = String::new();
    for command in commands::ALL {
        let mut arguments: Vec<String> =
            help::options(command.help).iter().map(zsh_option).collect();
        if help::takes_file(command) {
            arguments.push("'*:file:_files'".to_owned());
        }
        of_commands += &format!(
            "                {})\n                    _arguments \\\n                        {}\n                    ;;\n",
            command.name,
            arguments.join(" \\\n                        ")
        );
    }
    let global: Vec<String> = help::options(cli::HELP).iter().map(zsh_option).collect();
    format!(
        r#"#compdef backup-sync-dropbox
# Completions of backup-sync-dropbox for zsh.
_backup_sync_dropbox() {{
    local context state state_descr line
    typeset -A opt_args
    _arguments -C \
        {global} \
        '1: :->command' \
        '*:: :->arguments'
    case $state in
        command)
            local -a commands=(
{described}            )
            _describe command commands
            ;;
        arguments)
            case $line[1] in
{of_commands}            esac
            ;;
    esac
}}
_backup_sync_dropbox "$@"
"#,
        global = global.join(" \\\n        "),
    )
}

/// `'--root=[The plugin'\''s folder]:DIR:_files -/'`
fn zsh_option(option: &Choice) -> String {
    let summary = option.summary.replace('[', "\\[").replace(']', "\\]");
    let name = &option.name;
    zsh_quoted(&match option.value.as_deref() {
        None => format!("--{name}[{summary}]"),
        Some(value) if is_folder(value) => format!("--{name}=[{summary}]:{value}:_files -/"),
        Some(value) => format!("--{name}=[{summary}]:{value}: "),
    })
}

fn zsh_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// For fish.
pub fn fish() -> String {
    let mut lines = String::from(
        "# Completions of backup-sync-dropbox for fish.\ncomplete -c backup-sync-dropbox -f\n",
    );
    let none_yet = format!("not __fish_seen_subcommand_from {}", names());
    for option in help::options(cli::HELP) {
        lines += &fish_option(&option, &none_yet);
    }
    for command in commands::ALL {
        let name = command.name;
        lines += &format!(
            "complete -c backup-sync-dropbox -n '{none_yet}' -a {name} -d {}\n",
            fish_quoted(&help::summary_of(command, cli::HELP))
        );
        let own = format!("__fish_seen_subcommand_from {name}");
        for option in help::options(command.help) {
            lines += &fish_option(&option, &own);
        }
        if help::takes_file(command) {
            lines += &format!("complete -c backup-sync-dropbox -n '{own}' -F\n");
        }
    }
    lines
}

fn fish_option(option: &Choice, condition: &str) -> String {
    let value = match option.value.as_deref() {
        None => "",
        Some(value) if is_folder(value) => " -x -a '(__fish_complete_directories)'",
        Some(_) => " -x",
    };
    format!(
        "complete -c backup-sync-dropbox -n '{condition}' -l {}{value} -d {}\n",
        option.name,
        fish_quoted(&option.summary)
    )
}

fn fish_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
