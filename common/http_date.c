/* Dates in HTTP headers. The calendar is computed here (days from civil, Howard Hinnant's public
 * algorithm) because strptime takes many more shapes than the one that is allowed, and depends on
 * the locale. */
#include "common/http_date.h"

/* The first seconds of those years; and which day of the week that was, from Sunday on. */
#define YEAR_0         (-62167219200)
#define YEAR_0_WEEKDAY 6
#define YEAR_10000     253402300800

static const char weekdays[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static void put_digits(char *at, unsigned value, unsigned count)
{
    for (unsigned i = count; i > 0; i--, value /= 10)
        at[i - 1] = (char)('0' + value % 10);
}

/* Year, month 1..12 and day of the month, of a day counted from 1970-01-01 that is in year 0 or later. */
static void civil_from_days(int64_t days, unsigned *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    /* Eras of 400 years begin with a March; the first one here is that before year 0. */
    uint64_t since = (uint64_t)(days + 719468 + 146097);
    uint64_t era = since / 146097, day_of_era = since % 146097;
    uint64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year =
        (unsigned)(day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100));
    unsigned month_from_march = (5 * day_of_year + 2) / 153;
    *ret_day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    *ret_month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    *ret_year = (unsigned)(year_of_era + era * 400) - 400 + (*ret_month <= 2);
}

/* By hand: every read of a blob carries one. snprintf takes longer than all the rest of its header, and
 * gmtime_r takes a lock that all threads share. */
void http_date_format(int64_t unix_seconds, char text[HTTP_DATE_SIZE])
{
    if (unix_seconds < YEAR_0 || unix_seconds >= YEAR_10000)
        unix_seconds = 0;
    int64_t days = (unix_seconds - YEAR_0) / 86400 + YEAR_0 / 86400;
    unsigned second = (unsigned)(unix_seconds - days * 86400), year, month, day;
    civil_from_days(days, &year, &month, &day);
    memcpy(text, "Mon, 02 Jan 2006 15:04:05 GMT", HTTP_DATE_SIZE);
    memcpy(text, weekdays[(days - YEAR_0 / 86400 + YEAR_0_WEEKDAY) % 7], 3);
    put_digits(text + 5, day, 2);
    memcpy(text + 8, months[month - 1], 3);
    put_digits(text + 12, year, 4);
    put_digits(text + 17, second / 3600, 2);
    put_digits(text + 20, second / 60 % 60, 2);
    put_digits(text + 23, second % 60, 2);
}

/* -1 when one of the characters is no digit. */
static int parse_digits(const char *text, unsigned count)
{
    int value = 0;
    for (unsigned i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

static int find_name(const char *text, const char names[][4], int count)
{
    for (int i = 0; i < count; i++)
        if (strncasecmp(text, names[i], 3) == 0)
            return i;
    return -1;
}

static bool is_leap(int year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

static int days_in_month(int year, int month)
{
    static const unsigned char days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 1 && is_leap(year) ? 29 : days[month];
}

/* Days from 1970-01-01; month 0..11. */
static int64_t days_from_civil(int year, int month, int day)
{
    int m = month + 1;
    int64_t y = m <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

bool http_date_parse(struct slice text, int64_t *ret_unix_seconds)
{
    /* Mon, 02 Jan 2006 15:04:05 GMT */
    const char *s = text.ptr;
    if (text.len != HTTP_DATE_SIZE - 1 || memcmp(s + 3, ", ", 2) != 0 || s[7] != ' ' ||
        s[11] != ' ' || s[16] != ' ' || s[19] != ':' || s[22] != ':' ||
        memcmp(s + 25, " GMT", 4) != 0)
        return false;
    int day = parse_digits(s + 5, 2), month = find_name(s + 8, months, 12);
    int year = parse_digits(s + 12, 4), hour = parse_digits(s + 17, 2);
    int minute = parse_digits(s + 20, 2), second = parse_digits(s + 23, 2);
    if (find_name(s, weekdays, 7) < 0 || month < 0 || year < 0 || day < 1 ||
        day > days_in_month(year, month) || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
        second < 0 || second > 59)
        return false;
    *ret_unix_seconds =
        days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    return true;
}
