// The fragment names a line of a log. It is not sent to the server, so the form carries it on.
const form = document.querySelector("form.login");
form.action += location.hash;
