"""The registry of event types: what people do, in the words every source is translated to.

Belongs here: each canonical type with its channel and meaning. Does not belong here: how a source names its events (its
description under `sources/`), what an event is worth (`rules/sets/`).
"""

from dataclasses import dataclass
from typing import Literal

Channel = Literal["web", "e-mail", "social", "mobile", "calendar", "documents", "CRM", "third party"]


@dataclass(frozen=True)
class EventType:
    """A canonical event type. `name` is also the stem of its count columns."""

    name: str
    channel: Channel
    description: str


EVENT_TYPES = (
    EventType("page_view", "web", "A page of the site or shop was opened."),
    EventType("pricing_page_view", "web", "A page with prices or plans was opened."),
    EventType("product_view", "web", "A product's own page was opened."),
    EventType("careers_page_view", "web", "A page about working for the company was opened."),
    EventType("search", "web", "A search was made."),
    EventType("chat_message", "web", "A message was sent in the site's chat."),
    EventType("doc_download", "web", "A document or white paper was downloaded."),
    EventType("video_view", "web", "A video was played."),
    EventType("form_submission", "web", "A form was sent."),
    EventType("demo_request_click", "web", "A demo was asked for."),
    EventType("signup", "web", "An account was opened."),
    EventType("add_to_cart", "web", "Something was put in the cart or on a wish list."),
    EventType("checkout_step", "web", "A step between cart and order was taken."),
    EventType("purchase", "web", "An order was paid for."),
    EventType("error_shown", "web", "An error was shown."),
    EventType("calendar_booking", "calendar", "A meeting was booked."),
    EventType("meeting_attended", "calendar", "A booked meeting took place."),
    EventType("email_open", "e-mail", "An e-mail was opened."),
    EventType("email_click", "e-mail", "A link in an e-mail was followed."),
    EventType("email_bounce", "e-mail", "An e-mail could not be delivered."),
    EventType("unsubscribe", "e-mail", "The mailing list was left."),
    EventType("social_interaction", "social", "A post was liked, shared or commented on, or the company was followed."),
    EventType("proposal_view", "documents", "A proposal or contract was opened."),
    EventType("app_open", "mobile", "The mobile app was opened."),
    EventType("feature_use", "mobile", "A feature of the product was used."),
    EventType("support_ticket", "CRM", "A support ticket was opened."),
    EventType("crm_contact", "CRM", "Sales noted a call, a mail or a visit."),
    EventType("third_party_signal", "third party", "A review site or data provider reported interest."),
)

EVENT_TYPE_NAMES = tuple(event_type.name for event_type in EVENT_TYPES)
