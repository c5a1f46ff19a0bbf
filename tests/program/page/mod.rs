//! The status page, the widget and saving the form: the real program as `public.php` and
//! `hook_configure.php` start it, and every state of the page as a reviewed snapshot.

mod access;
mod backups;
pub mod crm;
mod forms;
mod fpm;
mod php;
mod saving;
