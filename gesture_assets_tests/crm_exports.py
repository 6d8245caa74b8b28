"""What CRMs export, two people of each: Ann, who bought, and Bob.

Belongs here: file names and their text, as each CRM writes them. Does not belong here: expectations.
"""

MAILCHIMP = {
    "subscribed_email_audience_export_1a2b3c.csv": '''Email Address,First Name,Last Name,MEMBER_RATING,OPTIN_TIME,\
OPTIN_IP,CONFIRM_TIME,CONFIRM_IP,LATITUDE,LONGITUDE,GMTOFF,DSTOFF,TIMEZONE,CC,REGION,LAST_CHANGED,LEID,EUID,NOTES,TAGS
ann@example.com,Ann,Lee,4,2026-01-05 10:57:02,192.0.2.7,2026-01-05 10:58:00,192.0.2.7,1.5,2.5,0,0,Europe/London,GB,ENG,\
2026-02-01 08:00:00,517309513,6d3f9c1b2a,,"""VIP"",""Webinar, the first"""
bob@example.org,Bob,Ray,2,,,2026-02-06 10:30:00,,,,,,,us,,2026-02-06 10:30:00,517309514,7e4a0d2c3b,,
''',
    "orders_export.csv": """Order ID,Order Date,Email Address,Order Total,Currency
1,2026-03-01 09:00:00,ANN@example.com,"$1,250.50",USD
2,2026-03-02 09:00:00,ann@example.com,99.50,USD
""",
}
HUBSPOT = {
    "hubspot-crm-exports-all-contacts-2026-03-09.csv": """Record ID,First Name,Last Name,Email,Phone Number,\
Lead Status,Create Date,Country/Region,List memberships
101,Ann,Lee,ann@example.com,+44 20 7946 0000,NEW,2026-01-05 09:14,United Kingdom,VIP;Newsletter
102,Bob,Ray,bob@example.org,,OPEN,2026-02-06 11:30,United States,
""",
    "hubspot-crm-exports-all-deals-2026-03-09.csv": """Record ID,Deal Name,Deal Stage,Close Date,Amount,Currency,\
Associated Contact IDs
9,Course,Closed Won (Sales Pipeline),2026-03-01 12:00,1350,EUR,101;102
10,Other,Closed Lost,2026-03-02 12:00,500,EUR,102
""",
}
SALESFORCE = {
    "Contact.csv": """"Id","AccountId","LastName","Email","MailingCountryCode","CreatedDate"
"0035g000001001AAQ","0015g000001001AAQ","Lee","ann@example.com","GB","2026-01-05T10:57:02.000+0000"
"0035g000001002AAQ","0015g000001001AAQ","Ray","bob@example.org","US","2026-02-06T23:30:00.000+0000"
""",
    "Opportunity.csv": """"Id","AccountId","Amount","CloseDate","IsWon","ContactId","CurrencyIsoCode"
"0065g000001","0015g000001001AAQ","1350.0","2026-03-01","true","0035g000001001AAQ","EUR"
"0065g000002","0015g000001001AAQ","500.0","2026-03-02","false","0035g000001002AAQ","EUR"
""",
    "CampaignMember.csv": """"Id","CampaignId","ContactId","CreatedDate"
"00v1","VIP","0035g000001001AAQ","2026-02-01T08:00:00.000+0000"
"00v2","7015g000001","0035g000001001AAQ","2026-02-02T08:00:00.000+0000"
""",
}
