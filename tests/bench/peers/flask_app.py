"""Flask-Session on Redis, for gunicorn; REDIS_SOCKET is where Redis is."""
import os

import redis
from flask import Flask, request, session
from flask_session import Session

app = Flask(__name__)
app.config["SESSION_TYPE"] = "redis"
app.config["SESSION_REDIS"] = redis.Redis(unix_socket_path=os.environ["REDIS_SOCKET"])
Session(app)


@app.get("/check")
def check():
    if "user" not in session:
        return "", 401
    return "", 200, {"X-User": session["user"]}


@app.post("/login")
def login():
    session["user"] = request.args["user"]
    return "", 201
