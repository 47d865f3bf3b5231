"""Small apps of each kind that a recipe is for: what a checkout of one has."""

from __future__ import annotations

from pathlib import Path

FLASK = """\
import os
from flask import Flask

app = Flask(__name__)

@app.get("/health")
def health():
    return "well"

@app.get("/")
def index():
    return os.environ.get("GREETING", "Hello from Flask")
"""
FASTAPI = """\
from fastapi import FastAPI

app = FastAPI()

@app.get("/health")
def health():
    return {"ok": True}

@app.get("/")
def index():
    return "Hello from FastAPI"
"""
EXPRESS = """\
const express = require("express")
const app = express()
app.get("/health", (_, answer) => answer.send("well"))
app.get("/", (_, answer) => answer.send("Hello from Express"))
app.listen(process.env.PORT, "127.0.0.1")
"""
MANAGE = """\
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
SETTINGS = """\
import os
SECRET_KEY = os.environ.get("SECRET_KEY", "only for this test")
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
"""
URLS = """\
from django.http import HttpResponse
from django.urls import path

urlpatterns = [
    path("health/", lambda request: HttpResponse("well")),
    path("", lambda request: HttpResponse("Hello from Django")),
]
"""
WSGI = """\
import os
from django.core.wsgi import get_wsgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
application = get_wsgi_application()
"""
GO = """\
package main

import ("net/http"; "os")

func main() {
	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {})
	greet := func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("Hello from Go")) }
	http.HandleFunc("/", greet)
	http.ListenAndServe("127.0.0.1:" + os.Getenv("PORT"), nil)
}
"""
NODE = """\
const server = require("http").createServer((_, answer) => answer.end("Hello from Node"))
server.listen(process.env.PORT, "127.0.0.1")
"""
LOCK = """\
{"name": "shop", "version": "1.0.0", "lockfileVersion": 3, "requires": true,
 "packages": {"": {"name": "shop", "version": "1.0.0"}}}
"""
ROUTES = 'Rails.application.routes.draw do\n  get "up" => "rails/health#show"\nend\n'

#: The files of an app by its kind.
APPS: dict[str, dict[str, str]] = {
    "flask": {"requirements.txt": "flask==3.1.3\n", "app.py": FLASK},
    "django": {
        "requirements.txt": "django==5.2.8\n",
        "manage.py": MANAGE,
        "shop/__init__.py": "",
        "shop/settings.py": SETTINGS,
        "shop/urls.py": URLS,
        "shop/wsgi.py": WSGI,
    },
    "fastapi": {"requirements.txt": "fastapi==0.121.3\n", "main.py": FASTAPI},
    "express": {
        "package.json": '{"name": "shop", "scripts": {"start": "node index.js"},'
        ' "dependencies": {"express": "^5.1.0"}}\n',
        "package-lock.json": LOCK,
        "index.js": EXPRESS,
    },
    "rails": {
        "Gemfile.lock": "GEM\n  specs:\n    puma (6.4.0)\n    rails (8.0.0)\n",
        "config/application.rb": "",
        "config/database.yml": "",
        "config/routes.rb": ROUTES,
        "app/assets/app.css": "",
    },
    "static": {"index.html": "<h1>Hello from a file</h1>\n"},
    "node": {
        "package.json": '{"name": "shop", "version": "1.0.0"}\n',
        "package-lock.json": LOCK,
        "server.js": NODE,
    },
    "go": {"go.mod": "module shop\n\ngo 1.18\n", "main.go": GO},
}


def write_app(folder: Path, kind: str) -> None:
    for name, text in APPS[kind].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
