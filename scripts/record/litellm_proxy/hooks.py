"""Hooks that the recorded LiteLLM proxy loads: keys without a database, and two guardrails."""

import re

from fastapi import HTTPException
from litellm.integrations.custom_guardrail import CustomGuardrail, log_guardrail_information
from litellm.proxy._types import ProxyException, UserAPIKeyAuth

import corpus

INJECTION = re.compile(
    r"ignore\W+(?:all\W+)?previous|disregard the rules|system override|hidden instructions|"
    r"developer mode|system prompt|<\|im_start\|>", re.IGNORECASE)
EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")

# What a database of virtual keys would know about each key.
OWNERS = {
    "rag-web": {"user_id": "u-ana", "user_email": "ana@example.com", "team_id": "t-search", "team_alias": "search",
                "org_id": "org-example"},
    "support-bot": {"user_id": "u-support-bot", "team_id": "t-support", "team_alias": "support", "org_id": "org-example"},
    "notebook": {"user_id": "u-ben", "user_email": "ben@example.com", "team_id": "t-research", "team_alias": "research"},
    "batch": {"user_id": "u-batch", "team_id": "t-research", "team_alias": "research", "rpm_limit": 3},
}


async def user_api_key_auth(request, api_key):
    """LiteLLM's custom_auth: a fixed table in place of the key database."""
    for alias, key in corpus.KEYS.items():
        if api_key == key:
            return UserAPIKeyAuth(api_key=api_key, key_alias=alias, max_budget=100.0, spend=1.5,
                                  metadata={"purpose": "recording"}, **OWNERS[alias])
    raise ProxyException(message="Authentication Error, invalid proxy server token", type="auth_error",
                         param="api_key", code=401)


class PromptShield(CustomGuardrail):
    """Blocks texts that look like prompt injection."""

    @log_guardrail_information
    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        for message in data.get("messages") or []:
            text = message.get("content")
            hit = INJECTION.search(text) if isinstance(text, str) else None
            if hit:
                raise HTTPException(status_code=400, detail={
                    "error": "Violated guardrail policy", "guardrail": "prompt-shield",
                    "category": "prompt_injection", "matched": hit.group(0)})
        return data


class MailMask(CustomGuardrail):
    """Replaces mail addresses before the model sees them."""

    @log_guardrail_information
    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        for message in data.get("messages") or []:
            if isinstance(message.get("content"), str):
                message["content"] = EMAIL.sub("<EMAIL_ADDRESS>", message["content"])
        return data
