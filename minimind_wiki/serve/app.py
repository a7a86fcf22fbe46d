"""The addresses of the server, and what ties a request to the worker and back.

    app = create_app({"tiny": Served(make_engine, tokenizer, context=512)})

One file for each idea beside this one; here is only the way that a request takes: gate, schema,
prompt, worker, reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.middleware.cors import CORSMiddleware

from minimind_wiki import __version__
from minimind_wiki.infer.request import Request
from minimind_wiki.serve import answers
from minimind_wiki.serve.chat import ask
from minimind_wiki.serve.desk import Desk, Served
from minimind_wiki.serve.embeddings import embedding_list
from minimind_wiki.serve.errors import Refused, handle_errors
from minimind_wiki.serve.metrics import Count
from minimind_wiki.serve.reply import ChatReply, TextReply
from minimind_wiki.serve.respond import respond, unless_gone
from minimind_wiki.serve.schema import Chat, Completion, Embedding
from minimind_wiki.serve.security import Gate, Key, Limits

__all__ = ["Served", "create_app"]


def create_app(
    models: Mapping[str, Served],
    key: Key | None = None,
    limits: Limits | None = None,
    origins: Sequence[str] = (),
) -> FastAPI:
    """The server as an ASGI application. `origins` are the sites whose pages may call it."""
    limits = limits or Limits()
    desk = Desk(models, limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await desk.worker.close(limits.grace)

    app = FastAPI(
        title="minimind", version=__version__, lifespan=lifespan,
        docs_url=None, redoc_url=None,  # these pages load scripts from another site
    )  # fmt: skip
    app.state.desk = desk
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    handle_errors(app)
    _add_routes(app, desk)
    app.add_middleware(Gate, key=key, limits=limits)
    if origins:
        # any header: OpenAI's client in a browser sends a dozen of its own (X-Stainless-…)
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["*"],
                           allow_headers=["*"], expose_headers=["Retry-After"])  # fmt: skip
    app.add_middleware(Count, metrics=desk.metrics)
    return app


def _add_routes(app: FastAPI, desk: Desk) -> None:
    problems: dict[int | str, dict[str, Any]] = {
        status: {"model": answers.ErrorAnswer}
        for status in (400, 401, 403, 404, 408, 413, 429, 500, 503, 504)
    }

    def answered(model: Any, streams: bool = False) -> dict[int | str, dict[str, Any]]:
        event = {"type": "object", "properties": {"data": {"type": "string"}}}
        events = {"content": {"text/event-stream": {"schema": event}}}
        return {**problems, 200: {"model": model, **(events if streams else {})}}

    @app.post("/v1/chat/completions", responses=answered(answers.ChatAnswer, streams=True))
    async def chat(body: Chat, request: HttpRequest) -> Response:
        """The assistant's next turn."""
        served = desk.find(body.model)
        asked = await asyncio.to_thread(ask, body, served.tokenizer)
        requests = desk.requests(served, body, asked.ids, asked.stop_ids, body.most_tokens,
                                 body.told, "messages", asked.form)  # fmt: skip
        reply = ChatReply(body.model, served.tokenizer, asked, len(requests), body.include_usage)
        stream = await desk.worker.submit(body.model, requests)
        return await respond(request, body, reply, stream)

    @app.post("/v1/completions", responses=answered(answers.TextAnswer, streams=True))
    async def completions(body: Completion, request: HttpRequest) -> Response:
        """A text, continued."""
        served = desk.find(body.model)
        if body.echo and body.logprobs is not None:
            raise Refused(400, "Scores of the prompt are not told: leave out echo or logprobs.",
                          param="logprobs")  # fmt: skip
        requests: list[Request] = []
        prompt_tokens, echo = 0, []
        for text in body.prompts:
            prompt = await asyncio.to_thread(desk.encode, served, text, "prompt")
            requests += desk.requests(served, body, prompt, [served.tokenizer.eos_id],
                                      body.max_tokens, body.logprobs, "prompt")  # fmt: skip
            prompt_tokens += len(prompt)
            shown = text if isinstance(text, str) else served.tokenizer.decode(prompt)
            echo += [shown if body.echo else ""] * (body.n or 1)
        reply = TextReply(body.model, served.tokenizer, prompt_tokens, echo, body.include_usage)
        stream = await desk.worker.submit(body.model, requests)
        return await respond(request, body, reply, stream)

    @app.post("/v1/embeddings", responses=answered(answers.EmbeddingList))
    async def embeddings(body: Embedding, request: HttpRequest) -> Response:
        """A vector for each text."""
        served = desk.find(body.model)
        if served.embed is None:
            raise Refused(400, "This model is served without embeddings.", "no_embeddings")
        ids = [await asyncio.to_thread(desk.encode, served, t, "input") for t in body.inputs]
        for prompt in ids:
            desk.room(served, prompt, "input")
        embed = served.embed

        async def vectors() -> list[list[float]]:  # one by one: answers go on in between
            return [await desk.worker.call(partial(embed, prompt)) for prompt in ids]

        found = await unless_gone(request.receive, vectors())
        return JSONResponse(embedding_list(body, ids, found or []))

    @app.get("/v1/models", responses=answered(answers.ModelList))
    async def list_models() -> Response:
        """The names to give as `model`."""
        return JSONResponse({"object": "list", "data": [card(name) for name in desk.models]})

    @app.get("/v1/models/{name}", responses=answered(answers.ModelCard))
    async def model(name: str) -> Response:
        """One of them."""
        desk.find(name)
        return JSONResponse(card(name))

    def card(name: str) -> answers.ModelCard:
        served = desk.models[name]
        return {"id": name, "object": "model", "created": served.created,
                "owned_by": "minimind", "max_model_len": served.context}  # fmt: skip

    @app.get("/health", responses={200: {"model": answers.Health}, 503: {"model": answers.Health}})
    async def health() -> Response:
        """Whether requests are answered; 503 tells a load balancer to ask another replica."""
        well = desk.worker.healthy
        return JSONResponse({"status": "ok" if well else "unwell"}, 200 if well else 503)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(desk.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI of the server. FastAPI puts in a 422 of its own form; ours is a 400."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        app.openapi_schema = schema
    return app.openapi_schema
